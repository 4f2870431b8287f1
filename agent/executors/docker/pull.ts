import type Docker from "dockerode";
import { StartError } from "../../executor.ts";
import { pullEventSchema, pullProgress } from "./progress.ts";
import { messageOf, statusOf } from "./refusals.ts";

export interface PullOptions {
  docker: Docker;
  image: string;
  /** For the image's registry. */
  login?: { username: string; password: string; serveraddress: string } | undefined;
  signal: AbortSignal;
  /** How far it is, in words; told again when that changes, once a second at most. */
  onProgress: (text: string) => void;
  /** Between two of these. */
  everyMs?: number | undefined;
  stallMs?: number;
}

const everyMsDefault = 1_000;
/** An engine says something of a pull several times a second; when it has said nothing for so long, its registry does not answer. */
const stallMsDefault = 300_000;
/** Answers of registries that stay the same when asked again. Everything else may be the network. */
const lasting = /not found|manifest unknown|does not exist|denied|unauthorized|authentication required|invalid reference|no matching manifest/i;

/**
 * Gets an image where the engine has it not.
 *
 * @throws StartError when it cannot be had
 */
export async function pullImage({ docker, image, login, signal, onProgress, everyMs = everyMsDefault, stallMs = stallMsDefault }: PullOptions): Promise<void> {
  const there = await docker.getImage(image).inspect().then(() => true, (error: unknown) => {
    if (statusOf(error) === 404) return false;
    throw error;
  });
  if (there) return;
  onProgress(`pulling ${image}`);
  const stalled = new AbortController();
  const refuse = (text: string): StartError => new StartError(`its image ${image} cannot be pulled: ${text}`, { wait: !lasting.test(text) });
  let timer: NodeJS.Timeout | undefined;
  const heard = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => stalled.abort(), stallMs);
  };
  try {
    heard();
    const stream = await docker.pull(image, { abortSignal: AbortSignal.any([signal, stalled.signal]), ...(login === undefined ? {} : { authconfig: login }) });
    const say = pullProgress(image);
    let [said, saidAt] = ["", 0];
    for await (const line of linesOf(stream)) {
      heard();
      const event = readEvent(line);
      if (event?.error !== undefined) throw refuse(event.error);
      const text = event && say(event);
      if (text === undefined || text === said || performance.now() - saidAt < everyMs) continue;
      [said, saidAt] = [text, performance.now()];
      onProgress(text);
    }
  } catch (error) {
    if (error instanceof StartError) throw error;
    if (stalled.signal.aborted) throw refuse(`nothing came for ${stallMs / 1000} s`);
    const status = statusOf(error);
    // an engine that went away is another matter than an image that is not there
    throw status === undefined ? error : refuse(messageOf(error));
  } finally {
    clearTimeout(timer);
  }
}

function readEvent(line: string): ReturnType<typeof pullEventSchema.parse> | undefined {
  try {
    return pullEventSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

async function* linesOf(stream: NodeJS.ReadableStream): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of stream) {
    const lines = (rest + decoder.decode(piece as Buffer, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") yield line;
  }
  if (rest.trim() !== "") yield rest;
}
