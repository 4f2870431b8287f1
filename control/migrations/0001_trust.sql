ALTER TABLE `hosts` ADD `rotatedAt` integer;--> statement-breakpoint
ALTER TABLE `hosts` ADD `previousKey` text;--> statement-breakpoint
ALTER TABLE `hosts` ADD `previousUntil` integer;--> statement-breakpoint
ALTER TABLE `hosts` ADD `releases` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `services` ADD `signed` text;