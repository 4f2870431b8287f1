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

/** A body that is here whole. */
export interface WholeBody {
  /** Undefined where it is no UTF-8. Without a byte order mark. */
  text: string | undefined;
  byteLength: number;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
const encoder = new TextEncoder();
const bomBytes = 3;

/**
 * Whether a text is what stood in so many bytes. What is no UTF-8 was read as U+FFFD, three bytes for one to three: where there is none, or
 * what was sent had as many bytes, nothing was lost. (A character of four bytes that lacks its last one has three, and passes as U+FFFD.)
 */
function isFaithful(text: string, byteLength: number): boolean {
  if (!text.includes("\ufffd")) return true;
  const written = encoder.encode(text).byteLength;
  return written === byteLength || written + bomBytes === byteLength;
}

/**
 * A request's body, whole, and not a byte more than allowed. As text, which costs a request less than its bytes do (docs/adr/0012).
 *
 * @throws FairleadError `body_too_large`; by the declared length where there is one, else while reading
 */
export async function readBody(request: Request, bytesMax: number): Promise<WholeBody> {
  const declared = request.headers.get("content-length");
  const byteLength = Number(declared ?? Number.NaN);
  if (byteLength <= bytesMax) {
    const text = await request.text();
    return { text: isFaithful(text, byteLength) ? text : undefined, byteLength };
  }
  if (request.body === null) return { text: "", byteLength: 0 };
  const reader = (request.body as ReadableStream<Uint8Array>).getReader();
  if (declared !== null) {
    if (byteLength <= drainBytesMax) await drain(reader, 0);
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
  try {
    return { text: chunks.map((chunk) => strict.decode(chunk, { stream: true })).join("") + strict.decode(), byteLength: size };
  } catch {
    return { text: undefined, byteLength: size };
  }
}
