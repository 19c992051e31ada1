import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FRAME_MAX, FrameReader, LENGTH_SIZE } from '../../../sync/transport/frames.js';

const frames = suite('frames');

function frame(...octets: number[]): number[] {
  return [octets.length, 0, 0, 0, ...octets];
}

function length(value: number): Uint8Array {
  const bytes = new Uint8Array(LENGTH_SIZE);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

frames('datagrams come out whole however the stream is cut', () => {
  const stream = Uint8Array.from([...frame(1, 2, 3), ...frame(4), ...frame(5, 6)]);
  for (let size = 1; size <= stream.length; size++) {
    const reader = new FrameReader();
    const got: number[][] = [];
    for (let at = 0; at < stream.length; at += size) {
      assert.ok(reader.push(stream.subarray(at, at + size), (d) => got.push([...d])));
    }
    assert.equal(got, [[1, 2, 3], [4], [5, 6]], `in pieces of ${size}`);
  }
});

frames('a length that cannot be ends the stream; what was whole before it counts', () => {
  for (const nonsense of [0, FRAME_MAX + 1, 0x20544547]) {
    const got: number[][] = [];
    const stream = Uint8Array.from([...frame(7), ...length(nonsense), 8, 9]);
    assert.not(new FrameReader().push(stream, (d) => got.push([...d])));
    assert.equal(got, [[7]]);
  }
  assert.ok(new FrameReader().push(length(FRAME_MAX), () => assert.unreachable('not whole yet')));
});

frames.run();
