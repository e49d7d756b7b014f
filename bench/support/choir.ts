/**
 * Choir in child processes: one that trains a few steps at a time (`TrainingProcess`), one that generates (`startChoir`),
 * and the program itself (`choirLines`). They are child processes because the peak memory of a process never decreases, and because a process
 * decides only once whether it uses oneDNN.
 *
 * All run the build in dist/, so `npm run build` comes first.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { RunError, UsageError } from '../../src/core/errors.ts'
import { type Engine, usesDnnl } from '../../src/engine/contract/engine.ts'
import type { Precision } from '../../src/engine/contract/runtime.ts'
import { parseJsonLines } from '../../src/faces/cli/json.ts'
import type { BenchmarkResult } from '../../src/node/measure/benchmark.ts'
import type { WeightFormat } from '../../src/use/infer/quantized/weight-format.ts'
import { type Generated, GenerationProcess, type GeneratorInfo } from './generation-process.ts'
import { LineProcess } from './line-process.ts'
import { fileIn } from './results.ts'

export const engines = ['onednn', 'onnxruntime'] as const
/** The library for matrix products. */
export type EngineName = (typeof engines)[number]

export interface EngineChoice {
  readonly math: 'float32' | 'bf16'
  readonly engine: EngineName
  readonly threads: number
}

interface Choice extends Pick<EngineChoice, 'threads'>, Partial<Pick<EngineChoice, 'engine'>> {
  readonly math: Precision
}

/** Number of steps until memory is allocated and the balancing loss has evened out the initial routing. */
export const WARM_UP = 8
/** Number of steps of one side before the other side's turn. */
export const TURN = 2

/** Part of a file name: `bf16`, `float32-onnxruntime`. */
export const choiceName = ({ math, engine }: Pick<EngineChoice, 'math' | 'engine'>): string =>
  engine === 'onednn' ? math : `${math}-${engine}`

/** @throws UsageError for ONNX Runtime alone in bf16. */
export function checkChoice({ math, engine }: Pick<EngineChoice, 'math' | 'engine'>): void {
  if (math === 'bf16' && engine === 'onnxruntime')
    throw new UsageError(
      'invalid --math: "bf16" with --engine onnxruntime (expected float32: ONNX Runtime alone has no bf16 matmuls)',
    )
}

/** Checks that the requested engine runs. @throws RunError if not, so that no other engine's speed gets into a table */
export function checkEngine(found: Engine & { readonly notice?: string }, { math, engine }: Choice): void {
  if (engine !== undefined && usesDnnl(found) !== (engine === 'onednn'))
    throw new RunError(
      `cannot measure --engine ${engine}: Choir runs on ${found.provider} (choir bench --ceilings prints how to install oneDNN)`,
    )
  if (found.math !== math) throw new RunError(`cannot measure --math ${math}: ${found.notice ?? found.provider}`)
}

export const engineEnvironment = (engine?: EngineName): NodeJS.ProcessEnv =>
  engine === 'onnxruntime' ? { ...process.env, CHOIR_DNNL: 'off' } : process.env

/** Results of all counted steps so far, with the times of this turn's steps and the loss of the last step. */
export interface Turn extends BenchmarkResult {
  readonly ms: readonly number[]
  readonly loss: number
}

export class TrainingProcess {
  private readonly child: LineProcess

  private constructor(child: LineProcess) {
    this.child = child
  }

  /**
   * Starts a training on random tokens and waits until it is compiled.
   * @param sets assignments as in `--set`
   * @param choice Without `engine`, the library that is installed computes, or the device of `sets`.
   * @param tree Folder of a clone of Choir that is built. Default: this one.
   * @throws UsageError for invalid settings, RunError if the requested engine or precision is not available
   */
  static async start(
    shape: string,
    sets: readonly string[],
    choice: Choice,
    tree = fileIn(''),
  ): Promise<TrainingProcess> {
    checkBuilt(tree)
    const { math, engine, threads } = choice
    const args = [join(tree, 'dist'), shape, ...sets, `runtime.math=${math}`, `runtime.threads=${threads}`]
    // A clone runs its own program, since folders of its build may have other names.
    const program = join(tree, 'bench', 'support', 'training-process.mjs')
    const child = new LineProcess('Choir', process.execPath, [program, ...args], engineEnvironment(engine))
    try {
      checkEngine((await child.answer()) as Engine, choice)
    } catch (error) {
      await child.stop()
      throw error
    }
    return new TrainingProcess(child)
  }

  /** Trains steps that are not counted. */
  async warmUp(steps: number): Promise<void> {
    await this.child.ask({ warmUp: steps })
  }

  /** Trains more steps. */
  async run(steps: number): Promise<Turn> {
    return (await this.child.ask({ run: steps })) as Turn
  }

  async stop(): Promise<void> {
    await this.child.stop()
  }
}

/**
 * Starts Choir with a model, to generate one text at a time, or `streams` at once, with weights of a format.
 * @param path A run, a folder of transformers or a GGUF file
 * @throws RunError if Choir is not built, UsageError if there is no such model
 */
export async function startChoir(
  path: string,
  weights: WeightFormat,
  threads: number,
  streams = 1,
): Promise<GenerationProcess<GeneratorInfo & { readonly provider: string }, Generated>> {
  checkBuilt()
  const script = fileIn('bench/support/choir-generate.mjs')
  return GenerationProcess.start('Choir', [script, fileIn('dist'), path, weights, String(threads), String(streams)])
}

/**
 * Runs `choir` with arguments that include `--json`, and yields each line when it is printed, with fields named as in
 * the program (camelCase).
 * @throws RunError if the program fails
 */
export async function* choirLines(args: readonly string[], engine: EngineName = 'onednn'): AsyncGenerator<object> {
  checkBuilt()
  const child = spawn(process.execPath, [fileIn('bin/choir.js'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: engineEnvironment(engine),
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  for await (const line of createInterface({ input: child.stdout })) yield* parseJsonLines(line)
  const code = await ended
  if (code !== 0) throw new RunError(`choir ${args.join(' ')} ended with exit code ${code}`)
}

function checkBuilt(tree = fileIn('')): void {
  if (!existsSync(join(tree, 'dist/node/train/train.js')))
    throw new RunError(`Choir is not built yet in ${tree} (run there: npm run build)`)
}
