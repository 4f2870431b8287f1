/** Codes that no close frame may carry (RFC 6455 §7.4.1): they stand for the absence of one. */
const unsayable = new Set([1005, 1006, 1015]);

/** Close a socket, or leave it when it is closed already. A reason is cut to what a close frame holds (123 bytes). */
export function closeQuietly(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(unsayable.has(code) ? 1000 : code, reason.slice(0, 120));
  } catch {
    // already closed
  }
}
