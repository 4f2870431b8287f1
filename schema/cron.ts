const months = "jan feb mar apr may jun jul aug sep oct nov dec".split(" ");
const days = "sun mon tue wed thu fri sat".split(" ");

/** Crontab's five fields, with the names that stand for numbers in two of them (crontab(5)). */
const fields = [
  { name: "minute", least: 0, most: 59, names: [] as string[] },
  { name: "hour", least: 0, most: 23, names: [] as string[] },
  { name: "day of month", least: 1, most: 31, names: [] as string[] },
  { name: "month", least: 1, most: 12, names: months },
  // 0 and 7 are Sunday
  { name: "day of week", least: 0, most: 7, names: days },
];

/** The last day of each month, in a leap year. */
const lengths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * What is wrong with a time as crontab writes it, in words; undefined when nothing is.
 *
 * @example wrongCron("0 25 * * *") // "has hour 25, which must be from 0 to 23"
 */
export function wrongCron(text: string): string | undefined {
  const parts = text.trim().toLowerCase().split(/\s+/);
  if (parts.length !== fields.length) return 'must be five fields, minute, hour, day of month, month and day of week, as in "0 8 * * mon-fri"';
  for (const [i, field] of fields.entries()) {
    for (const item of (parts[i] ?? "").split(",")) {
      const wrong = wrongItem(item, field);
      if (wrong !== undefined) return wrong;
    }
  }
  const [, , day = "*", month = "*", weekday = "*"] = parts;
  const never = /^\d+$/.test(day) && weekday === "*" && /^[\da-z]+$/.test(month) && Number(day) > (lengths[numberOf(month, fields[3]) - 1] ?? 0);
  return never ? `never comes: there is no day ${day} in month ${month}` : undefined;
}

type Field = (typeof fields)[number];

/** `*`, `5`, `1-5`, and each with `/2`. */
function wrongItem(item: string, field: Field): string | undefined {
  const [range = "", step, more] = item.split("/");
  const ends = range.split("-");
  const { name, least, most, names } = field;
  const shape = ends.length <= 2 && more === undefined && (range === "*" || ends.every((end) => /^\d{1,2}$/.test(end) || names.includes(end)));
  if (!shape || (step !== undefined && (!/^\d{1,2}$/.test(step) || Number(step) === 0))) return `has ${name} "${item}": write *, a number${names.length > 0 ? `, ${names[0]}` : ""}, a range such as ${names.length > 0 ? `${names[1]}-${names[5]}` : "1-5"}, or */5`;
  if (range === "*") return undefined;
  if (step !== undefined && ends.length === 1) return `has ${name} "${item}": a step needs a range, as in ${range}-${most}/${step}`;
  const [from = 0, to = from] = ends.map((end) => numberOf(end, field));
  for (const value of [from, to]) if (value < least || value > most) return `has ${name} ${value}, which must be from ${least} to ${most}`;
  return from > to ? `has ${name} "${range}", which ends before it begins` : undefined;
}

function numberOf(text: string, field: Field | undefined): number {
  const at = field?.names.indexOf(text) ?? -1;
  return at === -1 ? Number(text) : at + (field?.least ?? 0);
}
