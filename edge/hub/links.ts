import { agentMessageSchema, linkBytesMax, type AgentMessage, type Challenge, type HubMessage } from "../../schema/protocol.ts";

/** What a control link's socket keeps through hibernation. */
export interface LinkState {
  challenge?: Challenge;
  host?: string;
  epoch?: number;
  /** Which run of the agent it is. */
  instance?: string;
}

/** Agents' control links: what their sockets keep, and which one is each host's session. */
export class Links {
  /** The sessions' sockets, by host. */
  readonly sessions = new Map<string, WebSocket>();
  /** What sockets' attachments say, read once: a heartbeat must not cost a deserialisation. */
  readonly #known = new WeakMap<WebSocket, LinkState>();

  of(socket: WebSocket): LinkState {
    let link = this.#known.get(socket);
    if (link === undefined) {
      link = (socket.deserializeAttachment() as LinkState | null) ?? {};
      this.#known.set(socket, link);
    }
    return link;
  }

  attach(socket: WebSocket, link: LinkState): void {
    socket.serializeAttachment(link);
    this.#known.set(socket, link);
  }
}

const knownTypes: ReadonlySet<string> = new Set(agentMessageSchema.options.map((option) => option.shape.type.value));

/** Whether a frame may be read at all: text, and no longer than its link's state allows. */
export function isReadable({ host }: LinkState, message: string | ArrayBuffer): message is string {
  return typeof message === "string" && message.length <= (host === undefined ? linkBytesMax.beforeHello : linkBytesMax.afterHello);
}

/** @returns the message; undefined for one that only a later Hub knows; or why the link is to be closed, for people */
export function readMessage({ host }: LinkState, text: string): AgentMessage | { refused: string } | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { refused: "not JSON" };
  }
  const parsed = agentMessageSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  // a newer agent may say what this Hub does not know; a known message that is malformed ends the link
  const type = typeof json === "object" && json !== null && "type" in json ? json.type : undefined;
  return host !== undefined && typeof type === "string" && !knownTypes.has(type) ? undefined : { refused: "malformed message" };
}

export function send(socket: WebSocket, message: HubMessage): void {
  try {
    socket.send(JSON.stringify(message));
  } catch {
    // the socket is closing: its close event does what is needed
  }
}
