ALTER TABLE `services` ADD `previous` text;--> statement-breakpoint
ALTER TABLE `services` ADD `mode` text;