/**
 * GPUs as their vendors' tools call them, and as SkyPilot's catalogues do (`sky show-gpus`); the first that fits counts. What is not here
 * has no name: then the host's owner may write one down.
 */
const names: readonly (readonly [RegExp, string])[] = [
  [/\bGB200\b/, "GB200"], [/\bB200\b/, "B200"], [/\bGH200\b/, "GH200"], [/\bH200\b/, "H200"], [/\bH100\b/, "H100"], [/\bH20\b/, "H20"],
  [/\bA100\b.*\b80GB\b/, "A100-80GB"], [/\bA100\b/, "A100"], [/\bA10G\b/, "A10G"], [/\bA10\b/, "A10"], [/\bA16\b/, "A16"], [/\bA30\b/, "A30"], [/\bA40\b/, "A40"],
  [/\bL40S\b/, "L40S"], [/\bL40\b/, "L40"], [/\bL4\b/, "L4"],
  [/\bV100\b.*\b32GB\b/, "V100-32GB"], [/\bV100\b/, "V100"], [/\bT4\b/, "T4"], [/\bP100\b/, "P100"], [/\bP4\b/, "P4"], [/\bK80\b/, "K80"],
  [/\bRTX 6000 Ada\b/, "RTX6000-Ada"], [/\bRTX A6000\b/, "A6000"], [/\bRTX A5000\b/, "A5000"], [/\bRTX A4000\b/, "A4000"],
  [/\bRTX 5090\b/, "RTX5090"], [/\bRTX 4090\b/, "RTX4090"], [/\bRTX 3090\b/, "RTX3090"],
  [/\bMI300X\b/, "MI300X"], [/\bMI250X?\b/, "MI250"], [/\bMI210\b/, "MI210"],
];

/** SkyPilot's name of a host's GPUs; undefined when they are of several kinds, of none, or of one that is not known. */
export function acceleratorOf(gpus: readonly { name?: string | undefined }[]): string | undefined {
  const [first, ...others] = new Set(gpus.map(({ name = "" }) => names.find(([pattern]) => pattern.test(name.replaceAll("_", " ")))?.[1]));
  return others.length === 0 ? first : undefined;
}
