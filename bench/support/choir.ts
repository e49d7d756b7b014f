/**
 * Choir in processes of its own: one that trains a few steps at a time beside others (`TrainingProcess`),
 * and the program itself (`choirLines`). A process of its own because peak memory only grows, and because
 * whether oneDNN is used is settled once in a process.
 *
 * Both run the build in dist/, like a user's: `npm run build` first.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { RunError, UsageError } from '../../src/errors.ts'
import type { BenchmarkResult } from '../../src/measure/benchmark.ts'
import type { Engine } from '../../src/runtime/engine.ts'
import { LineProcess } from './line-process.ts'
import { fileIn } from './results.ts'

export const engines = ['onednn', 'onnxruntime'] as const
/** What multiplies matrices. */
export type EngineName = (typeof engines)[number]

export interface EngineChoice {
  readonly math: 'float32' | 'bf16'
  readonly engine: EngineName
  readonly threads: number
}

/** Steps until memory is touched and the balancing loss has evened out the first routing. */
export const WARM_UP = 8
/** Steps of a side before it is another's turn. */
export const TURN = 2

/** As in names of files: `bf16`, `float32-onnxruntime`. */
export const choiceName = ({ math, engine }: Pick<EngineChoice, 'math' | 'engine'>): string =>
  engine === 'onednn' ? math : `${math}-${engine}`

/** @throws UsageError for ONNX Runtime alone in bf16. */
export function checkChoice({ math, engine }: Pick<EngineChoice, 'math' | 'engine'>): void {
  if (math === 'bf16' && engine === 'onnxruntime')
    throw new UsageError(
      'invalid --math: "bf16" with --engine onnxruntime (expected float32: ONNX Runtime alone has no bf16 matmuls)',
    )
}

/** A speed that is not of what was asked for must not get into a table. @throws RunError */
export function checkEngine(found: Engine & { readonly notice?: string }, { math, engine }: EngineChoice): void {
  if (found.provider.startsWith('oneDNN') !== (engine === 'onednn'))
    throw new RunError(
      `cannot measure --engine ${engine}: Choir runs on ${found.provider} (choir bench --ceilings says how to install oneDNN)`,
    )
  if (found.math !== math) throw new RunError(`cannot measure --math ${math}: ${found.notice ?? found.provider}`)
}

export const environment = (engine: EngineName): NodeJS.ProcessEnv =>
  engine === 'onnxruntime' ? { ...process.env, CHOIR_DNNL: 'off' } : process.env

export class TrainingProcess {
  private readonly child: LineProcess

  private constructor(child: LineProcess) {
    this.child = child
  }

  /**
   * Starts a training on random tokens and waits until it is compiled.
   * @param sets as of `--set`
   * @throws UsageError for settings that cannot work, RunError when the engine is not the one asked for
   */
  static async start(shape: string, sets: readonly string[], choice: EngineChoice): Promise<TrainingProcess> {
    checkBuilt()
    const args = [shape, ...sets, `runtime.math=${choice.math}`, `runtime.threads=${choice.threads}`]
    const program = fileURLToPath(new URL('./choir.mjs', import.meta.url))
    const child = new LineProcess('Choir', process.execPath, [program, ...args], environment(choice.engine))
    try {
      checkEngine((await child.answer()) as Engine, choice)
    } catch (error) {
      await child.stop()
      throw error
    }
    return new TrainingProcess(child)
  }

  /** Trains steps that do not count. */
  async warmUp(steps: number): Promise<void> {
    await this.child.ask({ warmUp: steps })
  }

  /** Trains more steps; the figures of all that count. */
  async run(steps: number): Promise<BenchmarkResult> {
    return (await this.child.ask({ run: steps })) as BenchmarkResult
  }

  async stop(): Promise<void> {
    await this.child.stop()
  }
}

/**
 * Runs `choir ARGS`, whose arguments include `--json`, and yields its lines as they come.
 * @throws RunError when it fails
 */
export async function* choirLines(args: readonly string[], engine: EngineName = 'onednn'): AsyncGenerator<object> {
  checkBuilt()
  const child = spawn(process.execPath, [fileIn('bin/choir.js'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: environment(engine),
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  for await (const line of createInterface({ input: child.stdout })) yield JSON.parse(line) as object
  const code = await ended
  if (code !== 0) throw new RunError(`choir ${args.join(' ')} ended with exit code ${code}`)
}

function checkBuilt(): void {
  if (!existsSync(fileIn('dist/train/train.js'))) throw new RunError('Choir is not built yet (run: npm run build)')
}
