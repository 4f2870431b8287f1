import { WebSocket } from "ws";
import type { Clock, Random } from "../schema/clock.ts";
import { FrameError, type RequestHead } from "../schema/frames.ts";
import { closeCodes, ping, pong } from "../schema/protocol.ts";
import { keepAttempts } from "./attempts.ts";
import type { Answerer, Carried, Wire } from "./carry.ts";
import type { Log } from "./log.ts";
import { createMux } from "./mux.ts";
import { reconnectMs, stableMs } from "./reconnect.ts";
import type { Cancel, Timers } from "./timers.ts";

export interface Ticket {
  index: number;
  ticket: string;
}

export interface RelayOptions {
  /** `ws:` or `wss:` address of the fleet Worker, without a slash at its end. */
  url: string;
  host: string;
  /** Links, at most. */
  count: number;
  answererOf: (head: RequestHead) => Answerer;
  /** New tickets are wanted. */
  askTickets: () => void;
  /** A link has been opened or lost. */
  onChange: () => void;
  clock: Clock;
  random: Random;
  timers: Timers;
  log: Log;
  times?: Partial<typeof relayTimes>;
}

export interface Relays {
  /** Who answers a request that came another way: an answer begun on a link may go on there, and the other way round. */
  answererOf(head: RequestHead): Answerer;
  /** Fresh tickets, from `welcome` or in answer to `askTickets`. */
  tickets(tickets: readonly Ticket[]): void;
  /** The links that are open. */
  readonly open: number[];
  close(): void;
}

const relayTimes = {
  pingMs: 5_000,
  /** Nothing received for so long: the link is dead. */
  silentMs: 15_000,
  handshakeMs: 10_000,
  /** Between the first connections of links, so that one fault does not meet them all at the same moment. */
  staggerMs: 1_000,
  /** A ticket lives 60 s; one that is older than this is not tried. */
  ticketMs: 45_000,
  /** Between two requests for tickets. */
  askMs: 5_000,
  /** The sign that a request has arrived may wait so long for what else there is to say: an answer that comes soon needs no message for it. The Relay waits for a second. */
  ackMs: 20,
};

/** A message of the Relay at most. */
const messageBytesMax = 4 * 1024 * 1024;

interface DataLink {
  index: number;
  socket: WebSocket | undefined;
  up: boolean;
  /** Given and not used yet. */
  ticket: { text: string; at: number } | undefined;
  /** It would connect, had it a ticket. */
  due: boolean;
  attempt: number;
  cancel: Cancel | undefined;
}

/** The data links to this agent's Relays: each carries many requests, and is opened again when it is lost. */
export function openRelays(options: RelayOptions): Relays {
  const { count, askTickets, onChange, clock, random, timers, log } = options;
  const times = { ...relayTimes, ...options.times };
  const links = new Map<number, DataLink>();
  // what one link began another may go on with
  const attempts = keepAttempts(options);
  let closed = false;
  let cancelAsk: Cancel | undefined;

  const want = (link: DataLink): void => {
    link.cancel = undefined;
    if (closed) return;
    const fresh = link.ticket && clock.now() - link.ticket.at < times.ticketMs ? link.ticket.text : undefined;
    link.ticket = undefined;
    link.due = fresh === undefined;
    if (fresh === undefined) ask();
    else connect(link, fresh);
  };
  /** Asks until tickets come: a question may be lost with the control link, and the next welcome answers it as well. */
  const ask = (): void => {
    if (cancelAsk || closed) return;
    askTickets();
    cancelAsk = timers.after(times.askMs, () => {
      cancelAsk = undefined;
      if ([...links.values()].some(({ due }) => due)) ask();
    });
  };

  const connect = (link: DataLink, ticket: string): void => {
    const openedAt = clock.now();
    const socket = runLink({
      ...options, answererOf: (head) => attempts.answererOf(head), times, index: link.index, ticket,
      onUp() {
        link.up = true;
        log.info("data link is up", { relay: link.index });
        onChange();
      },
      onDown(code, reason) {
        const wasUp = link.up;
        link.up = false;
        link.socket = undefined;
        if (closed) return;
        if (wasUp && clock.now() - openedAt >= stableMs) link.attempt = 0;
        const refused = code === closeCodes.superseded || code === closeCodes.upgradeRequired || code === closeCodes.unauthorized;
        const ms = reconnectMs(link.attempt++, refused, random);
        log.warn("data link is down", { relay: link.index, code, reason, againMs: ms });
        link.cancel = timers.after(ms, () => want(link));
        if (wasUp) onChange();
      },
    });
    link.socket = socket;
  };

  return {
    answererOf: (head) => attempts.answererOf(head),
    get open() {
      return [...links.values()].filter(({ up }) => up).map(({ index }) => index);
    },
    tickets(tickets) {
      cancelAsk?.();
      cancelAsk = undefined;
      for (const { index, ticket } of tickets) {
        if (index < 0 || index >= count || closed) continue;
        let link = links.get(index);
        if (!link) {
          link = { index, socket: undefined, up: false, ticket: undefined, due: false, attempt: 0, cancel: undefined };
          links.set(index, link);
          const first = link;
          link.cancel = timers.after(links.size === 1 ? 0 : (links.size - 1) * times.staggerMs * (0.5 + random()), () => want(first));
        }
        link.ticket = { text: ticket, at: clock.now() };
        if (link.due) want(link);
      }
    },
    close() {
      closed = true;
      cancelAsk?.();
      for (const { cancel, socket } of links.values()) {
        cancel?.();
        socket?.close(1000);
        // the peer's answer to the close is not worth waiting for
        socket?.terminate();
      }
      attempts.close();
    },
  };
}

interface RunOptions extends RelayOptions {
  times: typeof relayTimes;
  index: number;
  ticket: string;
  onUp: () => void;
  onDown: (code: number, reason: string) => void;
}

/** One connection, from its handshake to its end. */
function runLink({ url, host, index, ticket, answererOf, timers, times, log, onUp, onDown }: RunOptions): WebSocket {
  const mux = createMux();
  const carried = new Map<number, Carried>();
  const socket = new WebSocket(`${url}/agents/relay/${host}/${index}`, {
    headers: { authorization: `Bearer ${ticket}` }, perMessageDeflate: false, maxPayload: messageBytesMax, handshakeTimeout: times.handshakeMs,
  });
  let over = false;
  let reason = "";
  let silent: Cancel | undefined;
  let pinging: Cancel | undefined;
  let flushing = false;
  let waiting: Cancel | undefined;

  const down = (code: number): void => {
    if (over) return;
    over = true;
    silent?.();
    pinging?.();
    waiting?.();
    const streams = [...carried.values()];
    carried.clear();
    for (const one of streams) {
      if (one.lost) one.lost();
      else one.cancel();
    }
    onDown(code, reason);
  };
  const heard = (): void => {
    silent?.();
    if (over) return;
    silent = timers.after(times.silentMs, () => {
      reason = "nothing was heard";
      socket.terminate();
      down(1006);
    });
  };
  const beat = (): void => {
    if (socket.readyState === WebSocket.OPEN) socket.send(ping);
    pinging = timers.after(times.pingMs, beat);
  };

  const flush = (): void => {
    flushing = false;
    if (over) return;
    const { messages, drained } = mux.flush();
    for (const message of messages) if (socket.readyState === WebSocket.OPEN) socket.send(message);
    for (const stream of drained) carried.get(stream)?.resume();
  };
  const later = (): void => {
    if (!flushing && !over) waiting ??= timers.after(times.ackMs, soon);
  };
  /** After the present tick of the event loop: what came up in it goes out as one message. */
  const soon = (): void => {
    waiting?.();
    waiting = undefined;
    if (flushing || over) return;
    flushing = true;
    setImmediate(flush);
  };

  const wireOf = (stream: number): Wire => ({
    head(head) {
      mux.head(stream, head);
      soon();
    },
    body(payload, kind) {
      soon();
      return mux.body(stream, payload, kind);
    },
    end(close) {
      carried.delete(stream);
      mux.end(stream, close);
      soon();
    },
    reset(code, message) {
      carried.delete(stream);
      mux.reset(stream, { code, message });
      soon();
    },
    granted(bytes) {
      mux.granted(stream, bytes);
      soon();
    },
  });

  const take = (message: Uint8Array): void => {
    const received = mux.receive(message);
    // credit that has come lets streams go on now; that requests have arrived is no hurry
    const opened = received.length > 0 && received.every(({ type }) => type === "open" || type === "data" || type === "end");
    const credited = mux.touched;
    for (const one of received) {
      switch (one.type) {
        case "open": {
          const answerer = answererOf(one.head);
          if ("refuse" in answerer) {
            mux.reset(one.stream, answerer.refuse);
            soon();
          } else {
            let ended = false;
            const wire = wireOf(one.stream);
            const stream = answerer.carry(one.head, { ...wire, end: (close) => ((ended = true), wire.end(close)), reset: (code, text) => ((ended = true), wire.reset(code, text)) });
            if (!ended) carried.set(one.stream, stream);
          }
          break;
        }
        case "data":
        case "text":
          carried.get(one.stream)?.body(one.payload, one.type);
          break;
        case "end":
          carried.get(one.stream)?.end(one.close);
          break;
        case "reset":
          carried.get(one.stream)?.cancel();
          carried.delete(one.stream);
          break;
      }
    }
    if (!mux.dirty) return;
    if (opened && !credited) later();
    else soon();
  };

  socket.on("open", () => {
    heard();
    beat();
    onUp();
  });
  socket.on("message", (message: Buffer, isBinary) => {
    heard();
    if (over) return;
    if (!isBinary) {
      if (message.toString("latin1") !== pong) log.debug("text on a data link", { relay: index });
      return;
    }
    try {
      take(message);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      log.warn("malformed message on a data link", { relay: index, problem: error.message });
      reason = "malformed message";
      socket.close(closeCodes.policy, "malformed message");
      down(closeCodes.policy);
    }
  });
  socket.on("pong", heard);
  socket.on("unexpected-response", (_request, response) => {
    reason = `the handshake was answered with ${response.statusCode ?? 0}`;
    response.destroy();
    socket.terminate();
    down(1006);
  });
  socket.on("error", (error) => {
    if (reason === "") reason = error.message;
  });
  socket.on("close", (code, text) => {
    if (reason === "") reason = text.toString("utf8");
    down(code);
  });
  return socket;
}
