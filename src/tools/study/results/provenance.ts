/**
 * The machine and program that computed a run. A run that was stopped may continue on another machine or with
 * a newer program, which rounds differently. So provenance.jsonl in the run directory has one line for each process.
 */
import { appendFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { version } from '../../../core/version.ts'
import { readJsonLines } from '../../../node/system/jsonl.ts'
import { describeProcessor } from '../../../node/system/processor.ts'

export interface Provenance {
  /** The machine, as described by {@link describeMachine}. */
  readonly machine: string
  /** Version of the program. */
  readonly program: string
  /** Kernel library with its version, precision and threads. */
  readonly engine: string
}

/** A line about this machine: processor with its instruction sets, cores, system and version of Node. */
export const describeMachine = (): string =>
  `${describeProcessor()}, ${cpus().length} logical cores, ${process.platform} ${process.arch}, Node ${process.version}`

const fileIn = (directory: string): string => join(directory, 'provenance.jsonl')

/** Appends this process to the provenance of the run. */
export function noteProcess(directory: string, engine: string): void {
  const line: Provenance = { machine: describeMachine(), program: version(), engine }
  appendFileSync(fileIn(directory), `${JSON.stringify(line)}\n`)
}

/** Distinct machines, programs and engines of a run in order of use, joined by semicolons. */
export async function provenanceOf(directory: string): Promise<Provenance> {
  const lines: Provenance[] = []
  for await (const line of readJsonLines<Provenance>(fileIn(directory))) lines.push(line)
  const each = (field: keyof Provenance) => [...new Set(lines.map((line) => line[field]))].join('; ')
  return { machine: each('machine'), program: each('program'), engine: each('engine') }
}
