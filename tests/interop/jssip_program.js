// JsSIP as a program: registers over a WebSocket, and tells as JSON, a line each, what happens. Commands come the same way.
// Run by `jssip_peer.Jssip`; knows nothing of ringback. The only argument is the settings as JSON.

const readline = require('readline');
require('./jssip_media.js');
const JsSIP = require('jssip');
const NodeWebSocket = require('jssip-node-websocket');

const settings = JSON.parse(process.argv[2]);
const tell = (event, more = {}) => process.stdout.write(JSON.stringify({ event, ...more }) + '\n');

const ua = new JsSIP.UA({
  uri: settings.uri,
  password: settings.password,
  sockets: [new NodeWebSocket(settings.url)],
  register: true,
  register_expires: 120,
});
ua.on('connected', () => tell('connected'));
ua.on('disconnected', () => tell('disconnected'));
ua.on('registered', (data) => tell('registered', { code: data.response.status_code }));
ua.on('unregistered', () => tell('unregistered'));
ua.on('registrationFailed', (data) => tell('registration failed', { code: data.response && data.response.status_code }));
ua.on('newMessage', ({ originator, message, request }) => {
  if (originator === 'remote') {
    tell('message', { body: request.body, from: request.from.uri.toString() });
    message.accept();
  }
});
let session = null;
const follow = (made) => {
  session = made;
  made.on('accepted', ({ originator }) => tell('accepted', { originator }));
  made.on('confirmed', () => tell('confirmed'));
  made.on('progress', ({ originator }) => tell('progress', { originator }));
  made.on('hold', ({ originator }) => tell('hold', { originator }));
  made.on('unhold', ({ originator }) => tell('unhold', { originator }));
  made.on('newDTMF', ({ originator, dtmf }) => tell('digit', { originator, digit: dtmf.tone }));
  made.on('ended', ({ originator, cause }) => tell('ended', { originator, cause }));
  made.on('failed', ({ originator, cause }) => tell('failed', { originator, cause }));
};
// Without constraints it asks no microphone.
const silent = { mediaConstraints: { audio: false, video: false }, rtcOfferConstraints: {} };
ua.on('newRTCSession', ({ originator, session: made }) => {
  follow(made);
  if (originator === 'remote') {
    tell('incoming', { from: made.remote_identity.uri.toString() });
    made.answer(silent);
  }
});
ua.start();

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  if (command.do === 'message') {
    ua.sendMessage(command.uri, command.text, {
      contentType: 'text/plain;charset=utf-8',
      eventHandlers: {
        succeeded: () => tell('message sent'),
        failed: (data) => tell('message failed', { cause: data.cause }),
      },
    });
  } else if (command.do === 'call') {
    ua.call(command.uri, silent);
  } else if (command.do === 'hold') {
    session.hold({}, () => tell('held'));
  } else if (command.do === 'unhold') {
    session.unhold();
  } else if (command.do === 'digits') {
    session.sendDTMF(command.digits, { transportType: 'INFO' });
  } else if (command.do === 'hangup') {
    session.terminate();
  } else if (command.do === 'options') {
    ua.sendOptions(command.uri, undefined, {
      eventHandlers: {
        succeeded: () => tell('options answered'),
        failed: (data) => tell('options failed', { cause: data.cause }),
      },
    });
  }
}).on('close', () => {
  // Its leave takes round trips, and is over when it is answered: the unregistering goes first and is asked for a digest.
  if (ua.isRegistered()) {
    ua.on('unregistered', () => process.exit(0));
  } else {
    setImmediate(() => process.exit(0));
  }
  ua.stop();
});
