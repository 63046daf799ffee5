// JsSIP as a program: registers over a WebSocket, and tells as JSON, a line each, what happens. Commands come the same way.
// Run by `jssip_peer.Jssip`; knows nothing of ringback. The only argument is the settings as JSON.

const readline = require('readline');
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
  } else if (command.do === 'options') {
    ua.sendOptions(command.uri, undefined, {
      eventHandlers: {
        succeeded: () => tell('options answered'),
        failed: (data) => tell('options failed', { cause: data.cause }),
      },
    });
  }
}).on('close', () => {
  ua.stop();
  setTimeout(() => process.exit(0), 500);
});
