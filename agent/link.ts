import { WebSocket } from "ws";
import type { Clock, Random } from "../schema/clock.ts";
import {
  closeCodes, helloText, hubMessageSchema, linkBytesMax, linkTimes, ping, pong, protocol,
  type AgentMessage, type Assign, type Challenge, type Heartbeat, type HubMessage, type ReplicaState, type Welcome,
} from "../schema/protocol.ts";
import { toBase64 } from "../schema/seal.ts";
import type { Log } from "./log.ts";
import { reconnectMs, stableMs } from "./reconnect.ts";
import type { Cancel, Timers } from "./timers.ts";

export interface LinkOptions {
  /** `ws:` or `wss:` address of the fleet Worker, without a slash at its end. */
  url: string;
  host: string;
  region: string;
  agentVersion: string;
  /** Ed25519 over the text, base64; and by the key before a rotation, while that one counts. */
  sign: (text: string) => Promise<string | { signature: string; previousSignature?: string }>;
  /** The full state of this host, for the session of this number. */
  heartbeat: (epoch: number) => Heartbeat;
  onTickets: (relays: Welcome["relays"]) => void;
  /** Data links that are wanted. */
  relays?: number;
  /** This session's word for the host's gate. */
  onGate?: (gate: NonNullable<Welcome["gate"]>) => void;
  onAssign: (assign: Assign) => void;
  clock: Clock;
  random: Random;
  timers: Timers;
  log: Log;
  times?: Partial<typeof times>;
}

export interface Link {
  /** Something changed: a heartbeat goes out soon. */
  changed(): void;
  /** One replica's phase changed: told at once. */
  report(replica: ReplicaState): void;
  askTickets(): void;
  readonly up: boolean;
  /** How often it has been up, the present time included. */
  readonly sessions: number;
  /** Says goodbye where there is somebody to hear it, and closes for good. Resolves within a second. */
  close(): Promise<void>;
}

const times = {
  pingMs: 5_000,
  /** Nothing received for so long: the link is dead. */
  silentMs: 15_000,
  /** From connecting to `welcome`. */
  welcomeMs: 2 * linkTimes.authMs,
  /** Changes within so long go out as one heartbeat. */
  coalesceMs: 50,
  goodbyeMs: 1_000,
};

/** An assignment may be long; more than this is no message of a hub. */
const messageBytesMax = 4 * linkBytesMax.afterHello;
const types = new Set<unknown>(hubMessageSchema.options.map((option) => option.shape.type.value));

/**
 * The control link to the region's Hub: proves who we are, says what is, takes in what should be. Opened again whenever it is
 * lost; meanwhile nothing changes on this host.
 */
export function openLink(options: LinkOptions): Link {
  const { url, region, heartbeat, onTickets, onAssign, clock, random, timers, log } = options;
  const at = { ...times, ...options.times };
  let session: { socket: WebSocket; epoch: number } | undefined;
  let socket: WebSocket | undefined;
  let attempt = 0;
  let sessions = 0;
  let closed = false;
  let cancelAgain: Cancel | undefined;
  let cancelBeat: Cancel | undefined;
  let cancelSoon: Cancel | undefined;
  let heartbeatMs: number = linkTimes.heartbeatMs;
  /** This run of the agent, as its hub tells it from another with the same key. */
  const instance = crypto.randomUUID();
  /** Over how long to come back, by the Hub's last word: it knows how many would come. */
  let spreadMs: number | undefined;
  /** The generation that was handed on last; survives the link. */
  let generation = Number.NEGATIVE_INFINITY;

  const send = (message: AgentMessage): void => {
    if (session?.socket.readyState === WebSocket.OPEN) session.socket.send(JSON.stringify(message));
  };
  const beat = (): void => {
    cancelBeat?.();
    cancelSoon?.();
    cancelSoon = undefined;
    if (!session) return;
    send(heartbeat(session.epoch));
    cancelBeat = timers.after(heartbeatMs, beat);
  };

  function take(message: HubMessage, from: WebSocket): void {
    switch (message.type) {
      case "challenge":
        if (session) break;
        void answer(message, from);
        break;
      case "welcome":
        session = { socket: from, epoch: message.epoch };
        sessions++;
        heartbeatMs = Math.max(100, message.heartbeatMs);
        spreadMs = message.spreadMs;
        if (message.gate) options.onGate?.(message.gate);
        log.info("link is up", { region, epoch: message.epoch, protocol: message.protocol });
        beat();
        onTickets(message.relays);
        break;
      case "assign":
        if (!session) break;
        if (message.generation < generation) {
          log.warn("an older assignment was ignored", { generation: message.generation, have: generation });
          break;
        }
        generation = message.generation;
        onAssign(message);
        break;
      case "relays":
        if (session) onTickets(message.relays);
        break;
    }
  }

  async function answer(challenge: Challenge, to: WebSocket): Promise<void> {
    if (challenge.region !== region) {
      log.error("the hub is another region's", { hub: challenge.region, region });
      return to.close(closeCodes.policy, "another region");
    }
    if (challenge.protocolMin > protocol) log.error("this agent is too old for its hub: update it", { protocol, least: challenge.protocolMin });
    const nonce = toBase64(crypto.getRandomValues(new Uint8Array(32)));
    const proof = await options.sign(helloText(challenge, { host: options.host, nonce, protocol }));
    if (to.readyState !== WebSocket.OPEN) return;
    const { signature, previousSignature } = typeof proof === "string" ? { signature: proof, previousSignature: undefined } : proof;
    const hello: AgentMessage = {
      type: "hello", host: options.host, region, protocol, agentVersion: options.agentVersion.slice(0, 32), nonce, signature, instance,
      ...(previousSignature === undefined ? {} : { previousSignature }), ...(options.relays === undefined ? {} : { relays: options.relays }),
    };
    to.send(JSON.stringify(hello));
  }

  function connect(): void {
    cancelAgain = undefined;
    if (closed) return;
    const mine = new WebSocket(`${url}/agents/link/${region}`, { perMessageDeflate: false, maxPayload: messageBytesMax, handshakeTimeout: at.welcomeMs });
    socket = mine;
    let upAt: number | undefined;
    let reason = "";
    let over = false;
    let refused = false;
    let cancelSilent: Cancel | undefined;
    let cancelPing: Cancel | undefined;
    const cancelWelcome = timers.after(at.welcomeMs, () => fail("no welcome came"));

    const fail = (why: string): void => {
      reason = why;
      mine.terminate();
      down(1006);
    };
    const heard = (): void => {
      cancelSilent?.();
      if (!over) cancelSilent = timers.after(at.silentMs, () => fail("nothing was heard"));
    };
    const pingOn = (): void => {
      if (mine.readyState === WebSocket.OPEN) mine.send(ping);
      cancelPing = timers.after(at.pingMs, pingOn);
    };
    const down = (code: number): void => {
      if (over) return;
      over = true;
      for (const cancel of [cancelSilent, cancelPing, cancelWelcome, cancelBeat, cancelSoon]) cancel?.();
      cancelSoon = undefined;
      session = undefined;
      if (closed) return;
      if (upAt !== undefined && clock.now() - upAt >= stableMs) attempt = 0;
      refused ||= code === closeCodes.unauthorized || code === closeCodes.superseded || code === closeCodes.upgradeRequired || code === closeCodes.quarantined;
      const ms = reconnectMs(attempt++, refused, random, spreadMs);
      if (code === closeCodes.quarantined) log.error("this host is shut out: another agent has its key; see fairlead hosts list", { reason });
      log.warn("link is down", { region, code, reason, againMs: ms });
      cancelAgain = timers.after(ms, connect);
    };

    mine.on("open", () => {
      heard();
      pingOn();
    });
    mine.on("message", (raw: Buffer, isBinary) => {
      heard();
      if (over) return;
      const message = isBinary ? undefined : read(raw);
      if (message === undefined) {
        log.warn("malformed message on the link");
        mine.close(closeCodes.policy, "malformed message");
        return down(closeCodes.policy);
      }
      if (message === "ignored") return;
      if (message.type === "welcome" && !session) {
        upAt = clock.now();
        cancelWelcome();
      }
      take(message, mine);
    });
    mine.on("unexpected-response", (_request, response) => {
      const status = response.statusCode ?? 0;
      refused = [401, 403, 409, 426].includes(status);
      response.destroy();
      fail(`the handshake was answered with ${status}`);
    });
    mine.on("error", (error) => {
      if (reason === "") reason = error.message;
    });
    mine.on("close", (code, text) => {
      if (reason === "") reason = text.toString("utf8");
      down(code);
    });
  }

  /** Undefined: malformed. Types of a later protocol, and known ones whose fields cannot be used, are ignored. */
  function read(raw: Buffer): HubMessage | "ignored" | undefined {
    const text = raw.toString("utf8");
    if (text === pong) return "ignored";
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return undefined;
    }
    if (typeof value !== "object" || value === null || !("type" in value)) return undefined;
    if (!types.has(value.type)) {
      log.debug("a message of an unknown type was ignored", { type: String(value.type) });
      return "ignored";
    }
    const parsed = hubMessageSchema.safeParse(value);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    // the last good assignment stays in force, and so does the link
    log.error("a message that cannot be used was ignored", { type: String(value.type), field: issue?.path.join("."), problem: issue?.message });
    return "ignored";
  }

  connect();
  return {
    get up() {
      return session !== undefined;
    },
    get sessions() {
      return sessions;
    },
    changed() {
      if (session) cancelSoon ??= timers.after(at.coalesceMs, beat);
    },
    report(replica) {
      if (session) send({ type: "report", epoch: session.epoch, replica });
    },
    askTickets() {
      if (session) send({ type: "tickets", epoch: session.epoch });
    },
    async close() {
      closed = true;
      cancelAgain?.();
      cancelBeat?.();
      const last = socket;
      if (!last || last.readyState === WebSocket.CLOSED) return;
      if (session) send({ type: "goodbye", epoch: session.epoch });
      await new Promise<void>((resolve) => {
        const cancel = timers.after(at.goodbyeMs, () => {
          last.terminate();
          resolve();
        });
        last.once("close", () => {
          cancel();
          resolve();
        });
        if (last.readyState === WebSocket.CONNECTING) last.terminate();
        else last.close(1000);
      });
    },
  };
}
