/**
 * Runs the program as a user does: a process with arguments in a folder of its own. Configurations are files on top
 * of common defaults, so that a test lists only the fields that it is about.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { randomFor } from '../../src/core/random.ts'
import type { Family } from '../../src/engine/world/mpi/library.ts'
import { type WorldCommand, worldCommand } from '../../src/engine/world/mpi/testing/launch.ts'
import type { EvalRecord, TrainRecord } from '../../src/train/step/metrics/records.ts'

const bin = fileURLToPath(new URL('../../bin/choir.js', import.meta.url))

/** A line of `--json`. */
export type Line = { readonly kind: string; readonly [field: string]: unknown }

export interface ExitResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A running `choir`. Tests can wait for the lines that it prints with `--json`. */
export class ChoirProcess {
  readonly pid: number
  readonly ended: Promise<ExitResult>
  private readonly child: ChildProcess
  private readonly lines: Line[] = []
  private readonly watchers = new Set<() => void>()
  private isEnded = false

  /**
   * @param world Command that starts several processes, as ranks.
   * @param input Standard input; default: none.
   */
  constructor(args: readonly string[], cwd: string, world?: WorldCommand, input?: string | Uint8Array) {
    const words = [...(world ? [world.command, ...world.args] : []), process.execPath, bin, ...args]
    const env = { ...process.env, ...world?.env }
    this.child = spawn(words[0] as string, words.slice(1), {
      cwd,
      env,
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    this.child.stdin?.end(input)
    this.pid = this.child.pid as number
    let [stdout, stderr] = ['', '']
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    if (this.child.stdout)
      createInterface({ input: this.child.stdout }).on('line', (line) => {
        if (line.startsWith('{') && line.endsWith('}')) this.lines.push(JSON.parse(line))
        this.wake()
      })
    this.ended = new Promise((resolve) => {
      this.child.on('close', (code) => {
        this.isEnded = true
        this.wake()
        resolve({ code, stdout, stderr })
      })
    })
  }

  /** Waits for the first matching line. @throws Error if the process exits without one. */
  async line(matches: (line: Line) => boolean): Promise<Line> {
    for (;;) {
      const found = this.lines.find(matches)
      if (found) return found
      if (this.isEnded) throw new Error(`exited without the line: ${JSON.stringify(await this.ended)}`)
      await new Promise<void>((resolve) => this.watchers.add(resolve))
    }
  }

  /** Waits for the line of a training step. */
  step(step: number): Promise<Line> {
    return this.line((line) => line.kind === 'train' && line.step === step)
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  private wake(): void {
    for (const watcher of this.watchers) watcher()
    this.watchers.clear()
  }
}

/** A temporary folder with a corpus, a token cache, and the runs of a test. */
export class Workspace {
  readonly path: string
  private configs = 0

  constructor(corpus: string = prose(1, 60_000)) {
    this.path = mkdtempSync(join(tmpdir(), 'choir-end-to-end-'))
    writeFileSync(this.file('corpus.txt'), corpus)
  }

  file(...names: string[]): string {
    return join(this.path, ...names)
  }

  start(...args: string[]): ChoirProcess {
    return new ChoirProcess(args, this.path)
  }

  /** Starts the program with text on its standard input. */
  startWith(input: string | Uint8Array, ...args: string[]): ChoirProcess {
    return new ChoirProcess(args, this.path, undefined, input)
  }

  /** Starts `ranks` processes that work together. */
  startRanks(family: Family, ranks: number, ...args: string[]): ChoirProcess {
    return new ChoirProcess(args, this.path, worldCommand(family, ranks, this.path))
  }

  /** Starts ranks after commands of bash on one of them, such as limits; the arguments of the program are `$@`. */
  startRanksWith(family: Family, ranks: number, rank: number, commands: string, ...args: string[]): ChoirProcess {
    const world = worldCommand(family, ranks, this.path)
    const script = `if [ "\${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = ${rank} ]; then ${commands}; fi; exec "$@"`
    const command = { ...world, args: [...world.args, 'bash', '-c', script, 'rank'] }
    return new ChoirProcess(args, this.path, command)
  }

  choir(...args: string[]): Promise<ExitResult> {
    return this.start(...args).ended
  }

  /** Writes a configuration file, the `tiny` preset on this corpus with a token per byte, and returns its path. */
  config(overrides: RunInput = {}): string {
    const path = this.file(`config-${++this.configs}.json`)
    writeFileSync(path, JSON.stringify(this.input(overrides)))
    return path
  }

  /** The configuration as an object. Only files can have `preset`. */
  input(overrides: RunInput = {}): RunInput & { preset: 'tiny' } {
    const { model, data, runtime } = overrides
    return {
      preset: 'tiny',
      ...overrides,
      model: { vocabulary: 257, ...model },
      data: { source: this.file('corpus.txt'), tokenizer: { kind: 'bytes' }, cache: this.file('cache'), ...data },
      runtime: { threads: 1, ...runtime },
    }
  }

  /** The settings of {@link config} that differ from `tiny`, by dotted path, as `set` of a study. */
  assignments(): Record<string, unknown> {
    const { model, data, runtime } = this.input()
    return {
      'model.vocabulary': model?.vocabulary,
      'data.source': data?.source,
      'data.tokenizer': data?.tokenizer,
      'data.cache': data?.cache,
      'runtime.threads': runtime?.threads,
    }
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** Paragraphs of random common words. Nothing repeats, so the held-out split by text keeps its share. */
export function prose(seed: number, characters: number): string {
  const random = randomFor(seed, 'prose')
  const words = 'the of and people states government will congress war peace union law public nation great'.split(' ')
  let text = ''
  while (text.length < characters) {
    const length = 5 + random.integer(10)
    text += `${Array.from({ length }, () => words[random.integer(words.length)]).join(' ')}.\n`
    if (random.integer(5) === 0) text += '\n'
  }
  return text
}

export const readJsonLines = (path: string): Line[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))

export const metrics = (run: string): Line[] => readJsonLines(join(run, 'metrics.jsonl'))
export const trainRecords = (run: string): TrainRecord[] =>
  metrics(run).filter(({ kind }) => kind === 'train') as unknown as TrainRecord[]
export const evalRecords = (run: string): EvalRecord[] =>
  metrics(run).filter(({ kind }) => kind === 'eval') as unknown as EvalRecord[]

/** metrics.jsonl without measured times, and so without the records of ranks. JSON preserves every bit of a float64. */
export const metricsWithoutTimes = (run: string): Line[] =>
  metrics(run)
    .filter(({ kind }) => kind !== 'ranks')
    .map(({ tokens_per_second, step_ms, mfu, ...rest }) => rest as Line)

export const checkpointsOf = (run: string): string[] => readdirSync(join(run, 'checkpoints')).sort()

/** A copy of a finished run as it would be if it had been killed before its last checkpoint. Returns the copy. */
export function withoutLastCheckpoint(run: string): string {
  const copy = `${run}-without-last`
  cpSync(run, copy, { recursive: true })
  rmSync(join(copy, 'checkpoints', checkpointsOf(copy).at(-1) as string), { recursive: true })
  return copy
}

/** Everything in a finished run that must be bitwise equal in another run of the same configuration. */
export function results(run: string) {
  const lastCheckpoint = join(run, 'checkpoints', checkpointsOf(run).at(-1) as string)
  return {
    metrics: metricsWithoutTimes(run),
    routing: readFileSync(join(run, 'routing.jsonl'), 'utf8'),
    // The checksums cover parameters, optimizer state and the trainer's counters.
    sums: readFileSync(join(lastCheckpoint, 'SHA256SUMS'), 'utf8'),
  }
}

/**
 * Checks that a message names the rank that was killed. Returns whether the message is certain: MPICH kills all ranks
 * at once, and on a busy machine the message says that another rank may have been first.
 */
export function expectKilled(stderr: string, rank: string): boolean {
  if (stderr.includes('one of them may have been first')) return false
  expect(stderr).toContain(`${rank} was killed`)
  return true
}

/** Waits for the process to exit. @throws Error if its exit code is not 0. */
export async function expectSuccess(running: ChoirProcess): Promise<ExitResult> {
  const ended = await running.ended
  if (ended.code !== 0) throw new Error(`exit code ${ended.code}: ${ended.stderr}`)
  return ended
}
