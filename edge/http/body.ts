import { FairleadError } from "../../schema/errors.ts";

function tooLarge(bytesMax: number): FairleadError {
  return new FairleadError("body_too_large", `Cannot accept the request: its body is larger than ${bytesMax} bytes`);
}

/**
 * A request's body, whole, and not a byte more than allowed.
 *
 * @throws FairleadError `body_too_large`; by the declared length where there is one, else while reading
 */
export async function readBody(request: Request, bytesMax: number): Promise<ArrayBuffer> {
  const declared = request.headers.get("content-length");
  if (declared !== null) {
    if (Number(declared) > bytesMax) throw tooLarge(bytesMax);
    return request.arrayBuffer();
  }
  if (request.body === null) return new ArrayBuffer(0);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body as ReadableStream<Uint8Array>) {
    size += chunk.byteLength;
    if (size > bytesMax) throw tooLarge(bytesMax);
    chunks.push(chunk);
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.byteLength;
  }
  return out.buffer;
}
