import { FairleadError } from "../../schema/errors.ts";

/**
 * A body that is refused is still read to its end, up to this: a client that is cut while it writes sees a broken connection
 * instead of the answer, and tries again. Cloudflare itself takes no more on most plans (facts/cloudflare.md §1).
 */
const drainBytesMax = 100 * 1024 * 1024;

function tooLarge(bytesMax: number): FairleadError {
  return new FairleadError("body_too_large", `Cannot accept the request: its body is larger than ${bytesMax} bytes`);
}

async function drain(reader: ReadableStreamDefaultReader<Uint8Array>, alreadyRead: number): Promise<void> {
  let size = alreadyRead;
  for (let read = await reader.read(); !read.done && size <= drainBytesMax; read = await reader.read()) size += read.value.byteLength;
  await reader.cancel();
}

/**
 * A request's body, whole, and not a byte more than allowed.
 *
 * @throws FairleadError `body_too_large`; by the declared length where there is one, else while reading
 */
export async function readBody(request: Request, bytesMax: number): Promise<ArrayBuffer> {
  const declared = request.headers.get("content-length");
  if (declared !== null && Number(declared) <= bytesMax) return request.arrayBuffer();
  if (request.body === null) return new ArrayBuffer(0);
  const reader = (request.body as ReadableStream<Uint8Array>).getReader();
  if (declared !== null) {
    if (Number(declared) <= drainBytesMax) await drain(reader, 0);
    throw tooLarge(bytesMax);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    size += read.value.byteLength;
    if (size > bytesMax) {
      await drain(reader, size);
      throw tooLarge(bytesMax);
    }
    chunks.push(read.value);
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.byteLength;
  }
  return out.buffer;
}
