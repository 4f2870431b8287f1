import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { calculateJwkThumbprint, exportJWK, exportPKCS8, exportSPKI, generateKeyPair } from "jose";
import { signedAlgorithm } from "../../schema/signedSpec.ts";
import { Failure } from "./failure.ts";

export function operatorCommand(program: Command): void {
  const operator = program.command("operator").description("the key by which an operator signs what hosts may run").addHelpText("after", "\nExample:\n  fairlead operator keygen operator.key");

  operator
    .command("keygen")
    .description("make an Ed25519 key, without asking anyone: the private half to FILE, the public half to FILE.pub for the hosts")
    .argument("<FILE>", "where the private half goes; it is not overwritten")
    .addHelpText("after", "\nExamples:\n  fairlead operator keygen operator.key\n  fairlead-agent join --control https://control.example.com --token-file - --operator-key operator.key.pub\n  fairlead up chat.yaml --sign-key operator.key")
    .action(async (file: string) => {
      const { privateKey, publicKey } = await generateKeyPair(signedAlgorithm, { extractable: true });
      await writeNew(file, await exportPKCS8(privateKey), 0o600);
      await writeNew(`${file}.pub`, await exportSPKI(publicKey), 0o644);
      console.error(`Keep ${file} where no server is. Give ${file}.pub to each host: fairlead-agent join --operator-key, or operator_keys in its configuration.`);
      console.log(await calculateJwkThumbprint(await exportJWK(publicKey)));
    });
}

async function writeNew(file: string, text: string, mode: number): Promise<void> {
  await writeFile(file, text.endsWith("\n") ? text : `${text}\n`, { mode, flag: "wx" }).catch((error: NodeJS.ErrnoException) => {
    throw new Failure(`Cannot write ${file}: ${error.code === "EEXIST" ? "it exists, and a key is never overwritten" : error.message}`);
  });
}
