/** A frame of an engine's log stream: a byte for the stream, three of nothing, four for the length, the most significant first (Engine API, "Stream format"). */
const headBytes = 8;

/**
 * Takes the frames off an engine's log stream: what both of a container's outputs wrote, in its order. Holds no more than a
 * frame's head between two calls, however long frames are.
 *
 * @returns a function that gives the payload that is in a piece of the stream
 */
export function unframer(): (piece: Uint8Array) => Uint8Array[] {
  const head = new Uint8Array(headBytes);
  let headAt = 0;
  let left = 0;
  return (piece) => {
    const payload: Uint8Array[] = [];
    for (let at = 0; at < piece.length; ) {
      if (left > 0) {
        const part = piece.subarray(at, at + left);
        payload.push(part);
        left -= part.length;
        at += part.length;
        continue;
      }
      head[headAt++] = piece[at++] ?? 0;
      if (headAt < headBytes) continue;
      headAt = 0;
      left = new DataView(head.buffer).getUint32(4);
    }
    return payload;
  };
}
