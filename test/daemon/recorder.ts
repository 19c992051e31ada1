// Somebody on the link who has no key: records every datagram of the group, and sends them again when
// told to. Standard input: `replay`; standard output: a line when it listens, one when all is sent.
import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';

const [group, port, local] = process.argv.slice(2);
const socket = createSocket({ type: 'udp4', reuseAddr: true });
const recording: Buffer[] = [];
let recorded = true;
socket.on('message', (datagram) => {
  if (recorded) recording.push(datagram);
});
socket.bind(Number(port), group, () => {
  socket.addMembership(group, local);
  socket.setMulticastInterface(local);
  socket.setMulticastLoopback(true);
  console.log('0');
});
for await (const line of createInterface({ input: process.stdin })) {
  if (line !== 'replay') continue;
  recorded = false;
  for (const [index, datagram] of recording.entries()) {
    await new Promise((sent) => socket.send(datagram, Number(port), group, sent));
    if (index % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  console.log(recording.length);
}
socket.close();
