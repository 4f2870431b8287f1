import { describe, expect, test } from "vitest";
import { LatestPrompts } from "./hot.ts";

const shared = [1, 2, 3];
const all = Array.from({ length: 40 }, (_, i) => i);

describe("LatestPrompts", () => {
  test.each<{ says: string; replicas: number; told: (i: number) => { chain: number[]; conversation?: number }; asked?: number[]; hot: number }>([
    { says: "what all ask for", replicas: 8, told: (i) => ({ chain: [...shared, 100 + i] }), hot: 3 },
    { says: "what two of the last two ask for", replicas: 8, told: (i) => ({ chain: i < 38 ? [100 + i] : [...shared, 100 + i] }), hot: 3 },
    { says: "not what one in ten asks for, of four replicas", replicas: 4, told: (i) => ({ chain: i % 10 === 0 ? [...shared, 100 + i] : [100 + i] }), hot: 0 },
    { says: "but of twenty, each of which has less of the traffic", replicas: 20, told: (i) => ({ chain: i % 10 === 0 ? [...shared, 100 + i] : [100 + i] }), hot: 3 },
    { says: "only as much as enough share", replicas: 8, told: (i) => ({ chain: i % 16 === 15 ? [1, 2, 3, 100 + i] : [1, 200 + i] }), asked: [1, 2, 3, 9], hot: 1 },
    { says: "not the earlier turns of a conversation", replicas: 8, told: (i) => ({ chain: shared.slice(0, 1 + (i % 3)), conversation: 5 }), hot: 0 },
    { says: "what others ask of the same text, though it begins as a conversation would", replicas: 8, told: (i) => ({ chain: [...shared, 100 + i], conversation: 5 }), hot: 3 },
    { says: "nothing of a prompt without blocks", replicas: 8, told: () => ({ chain: shared }), asked: [], hot: 0 },
  ])("says: $says", ({ replicas, told, asked = [...shared, 9], hot }) => {
    const latest = new LatestPrompts();
    for (const i of all) {
      const { chain, conversation = 100 + i } = told(i);
      latest.note(chain, conversation);
    }
    expect(latest.hotBlocks(asked, 5, replicas)).toBe(hot);
  });

  test("forgets: what was hot is not when others have come", () => {
    const latest = new LatestPrompts();
    for (let i = 0; i < 300; i++) latest.note(shared, i);
    expect(latest.hotBlocks(shared, -1, 8)).toBe(3);
    for (let i = 0; i < 32; i++) latest.note([50 + i], i);
    expect(latest.hotBlocks(shared, -1, 8)).toBe(0);
    expect(new LatestPrompts().hotBlocks(shared, -1, 8)).toBe(0);
  });
});
