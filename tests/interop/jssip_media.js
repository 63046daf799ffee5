// Stands in for a browser's WebRTC: descriptions of plain RTP that lead nowhere, so that JsSIP's calls can be shown without media.

class Description {
  constructor({ type, sdp }) {
    this.type = type;
    this.sdp = sdp;
  }
}

class Connection {
  constructor() {
    this.signalingState = 'stable';
    this.iceConnectionState = 'connected';
    this.iceGatheringState = 'complete';
    this.localDescription = null;
    this.remoteDescription = null;
    this._version = 0;
  }

  _describe(type, direction) {
    this._version += 1;
    const lines = [
      'v=0', `o=- 4711 ${this._version} IN IP4 127.0.0.1`, 's=-', 'c=IN IP4 127.0.0.1', 't=0 0',
      'm=audio 9 RTP/AVP 0 101', 'a=rtpmap:0 PCMU/8000', 'a=rtpmap:101 telephone-event/8000', `a=${direction}`,
    ];
    return Promise.resolve(new Description({ type, sdp: lines.join('\r\n') + '\r\n' }));
  }

  createOffer() {
    return this._describe('offer', 'sendrecv');
  }

  createAnswer() {
    const offered = /a=(sendonly|recvonly|inactive)/.exec(this.remoteDescription.sdp);
    const answers = { sendonly: 'recvonly', recvonly: 'sendonly', inactive: 'inactive' };
    return this._describe('answer', offered ? answers[offered[1]] : 'sendrecv');
  }

  setLocalDescription(description) {
    this.localDescription = new Description(description);
    this.signalingState = description.type === 'offer' ? 'have-local-offer' : 'stable';
    return Promise.resolve();
  }

  setRemoteDescription(description) {
    this.remoteDescription = new Description(description);
    this.signalingState = description.type === 'offer' ? 'have-remote-offer' : 'stable';
    return Promise.resolve();
  }

  addEventListener() {}

  removeEventListener() {}

  getSenders() {
    return [];
  }

  close() {
    this.signalingState = 'closed';
  }
}

global.window = global.window || {};
window.RTCPeerConnection = global.RTCPeerConnection = Connection;
window.RTCSessionDescription = global.RTCSessionDescription = Description;
