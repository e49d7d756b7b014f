/**
 * The program as a user runs it: a process with arguments, a folder of its own, and what it leaves on
 * disk. Configurations are files, so that each test says only what it is about.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { RunInput } from '../../src/config/run-config.ts'
import { randomFor } from '../../src/step/random.ts'
import type { EvalRecord, TrainRecord } from '../../src/step/records.ts'

const bin = fileURLToPath(new URL('../../bin/choir.js', import.meta.url))

/** A line of `--json`. */
export type Line = { readonly kind: string; readonly [field: string]: unknown }

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A running `choir`; every line that it prints with `--json` can be waited for. */
export class Running {
  readonly pid: number
  readonly ended: Promise<Ended>
  private readonly child: ChildProcess
  private readonly lines: Line[] = []
  private readonly watchers = new Set<() => void>()
  private isEnded = false

  constructor(args: readonly string[], cwd: string) {
    this.child = spawn(process.execPath, [bin, ...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
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

  /** The first line that fits. @throws Error when the process ends without one. */
  async line(fits: (line: Line) => boolean): Promise<Line> {
    for (;;) {
      const found = this.lines.find(fits)
      if (found) return found
      if (this.isEnded) throw new Error(`ended without the line: ${JSON.stringify(await this.ended)}`)
      await new Promise<void>((resolve) => this.watchers.add(resolve))
    }
  }

  /** The line of a training step. */
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

/** A folder with a corpus and a token cache; runs are made in it. */
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

  start(...args: string[]): Running {
    return new Running(args, this.path)
  }

  choir(...args: string[]): Promise<Ended> {
    return this.start(...args).ended
  }

  /** The path of a file with the `tiny` preset on this corpus, a token a byte, and `over` over it. */
  config(over: RunInput = {}): string {
    const path = this.file(`config-${++this.configs}.json`)
    writeFileSync(path, JSON.stringify(this.input(over)))
    return path
  }

  /** The same as an object; `preset` is for files only. */
  input(over: RunInput = {}): RunInput & { preset: 'tiny' } {
    return {
      preset: 'tiny',
      ...over,
      model: { vocabulary: 257, ...over.model },
      data: { source: this.file('corpus.txt'), tokenizer: { kind: 'bytes' }, cache: this.file('cache'), ...over.data },
      runtime: { threads: 1, ...over.runtime },
    }
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** Text of random common words in paragraphs: nothing repeats, so the split by text keeps its share. */
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

const readJsonLines = (path: string): Line[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))

export const metrics = (run: string): Line[] => readJsonLines(join(run, 'metrics.jsonl'))
export const trainRecords = (run: string): TrainRecord[] =>
  metrics(run).filter(({ kind }) => kind === 'train') as unknown as TrainRecord[]
export const evalRecords = (run: string): EvalRecord[] =>
  metrics(run).filter(({ kind }) => kind === 'eval') as unknown as EvalRecord[]

/** metrics.jsonl without what a clock says. JSON writes a float64 so that it reads back to the last bit. */
export const untimed = (run: string): Line[] =>
  metrics(run).map(({ tokens_per_second, step_ms, mfu, ...rest }) => rest as Line)

export const checkpointsOf = (run: string): string[] => readdirSync(join(run, 'checkpoints')).sort()

/** Everything of a finished run that must be equal to the last bit in another of the same configuration. */
export function results(run: string) {
  const last = join(run, 'checkpoints', checkpointsOf(run).at(-1) as string)
  return {
    metrics: untimed(run),
    routing: readFileSync(join(run, 'routing.jsonl'), 'utf8'),
    // The sums cover parameters, optimizer state and the trainer's counters.
    sums: readFileSync(join(last, 'SHA256SUMS'), 'utf8'),
  }
}

/** Runs to the end, which must be a good one. */
export async function finished(running: Running): Promise<Ended> {
  const ended = await running.ended
  if (ended.code !== 0) throw new Error(`exit code ${ended.code}: ${ended.stderr}`)
  return ended
}
