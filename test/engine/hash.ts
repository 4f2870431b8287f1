/** A 32-bit number from two, well mixed (MurmurHash3's finisher). Not for secrets. */
export function mix(a: number, b: number): number {
  let h = (a ^ Math.imul(b + 0x9e3779b9, 0x85ebca6b)) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A 32-bit number from a text. */
export function hashText(text: string, from = 0): number {
  let h = from;
  for (const byte of Buffer.from(text, "utf8")) h = mix(h, byte);
  return h;
}
