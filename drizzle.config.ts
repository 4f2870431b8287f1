import { defineConfig } from "drizzle-kit";

/** `npm run migrations` writes what changed in the tables since the last migration; control applies them when it starts. */
export default defineConfig({ dialect: "sqlite", schema: "./schema/tables.ts", out: "./control/migrations" });
