CREATE TABLE `admin_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`digest` text NOT NULL,
	`createdAt` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `hosts` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`region` text NOT NULL,
	`publicKey` text NOT NULL,
	`sealKey` text NOT NULL,
	`createdAt` integer NOT NULL,
	`revokedAt` integer
);
--> statement-breakpoint
CREATE TABLE `invites` (
	`id` text PRIMARY KEY NOT NULL,
	`digest` text NOT NULL,
	`region` text NOT NULL,
	`name` text,
	`expiresAt` integer NOT NULL,
	`usedAt` integer
);
--> statement-breakpoint
CREATE TABLE `keys` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`digest` text NOT NULL,
	`account` text NOT NULL,
	`rights` text NOT NULL,
	`services` text,
	`createdAt` integer NOT NULL,
	`expiresAt` integer,
	`revokedAt` integer
);
--> statement-breakpoint
CREATE TABLE `removed` (
	`id` text PRIMARY KEY NOT NULL,
	`removedAt` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `removed_by_age` ON `removed` (`removedAt`);--> statement-breakpoint
CREATE TABLE `services` (
	`name` text PRIMARY KEY NOT NULL,
	`version` integer NOT NULL,
	`yaml` text NOT NULL,
	`spec` text NOT NULL,
	`secrets` text NOT NULL,
	`createdAt` integer NOT NULL,
	`updatedAt` integer NOT NULL,
	`deletedAt` integer
);
--> statement-breakpoint
CREATE TABLE `settings` (
	`name` text PRIMARY KEY NOT NULL,
	`value` integer NOT NULL
);
