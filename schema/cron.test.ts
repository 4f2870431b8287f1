import { Cron } from "croner";
import { expect, test } from "vitest";
import { wrongCron } from "./cron.ts";

test.each(["0 8 * * mon-fri", "*/5 * * * *", "0 0 1 1 *", "30 9-17/2 * * 1,3,5", "0 0 29 feb *", "  0  8  *  *  SUN ", "0 0 31 * *", "0 0 * * 7", "15,45 6 1-7 jan-mar,dec mon", "0 0 31 2 mon"])("wrongCron() takes %j, and so does the library that finds its times", (text) => {
  expect(wrongCron(text)).toBeUndefined();
  expect(new Cron(text.trim()).nextRun("2026-01-01T00:00:00")).not.toBeNull();
});

test.each<[string, string]>([
  ["0 8 * *", "must be five fields"],
  ["0 0 8 * * *", "must be five fields"],
  ["@daily", "must be five fields"],
  ["", "must be five fields"],
  ["60 8 * * *", "has minute 60, which must be from 0 to 59"],
  ["0 24 * * *", "has hour 24, which must be from 0 to 23"],
  ["0 8 0 * *", "has day of month 0, which must be from 1 to 31"],
  ["0 8 * 13 *", "has month 13, which must be from 1 to 12"],
  ["0 8 * * 8", "has day of week 8, which must be from 0 to 7"],
  ["0 8 * * monday", 'has day of week "monday": write *, a number, sun, a range such as mon-fri, or */5'],
  ["x 8 * * *", 'has minute "x": write *, a number, a range such as 1-5, or */5'],
  ["0 8 * * fri-mon", 'has day of week "fri-mon", which ends before it begins'],
  ["*/0 8 * * *", 'has minute "*/0"'],
  ["5/10 8 * * *", 'has minute "5/10": a step needs a range, as in 5-59/10'],
  ["0,, 8 * * *", 'has minute ""'],
  ["1-2-3 8 * * *", 'has minute "1-2-3"'],
  ["0 8 30 2 *", "never comes: there is no day 30 in month 2"],
  ["0 8 31 jun *", "never comes: there is no day 31 in month jun"],
])("wrongCron(%j) says %s", (text, words) => {
  expect(wrongCron(text)).toContain(words);
});
