/**
 * PyTorch as a peer in a benchmark: a child process that trains the same model, or generates with it,
 * when told to, and otherwise waits, so that a harness can alternate it with Choir.
 *
 * Half of a fair measurement is the environment, which must be set before the process starts: the
 * OpenMP build of OpenBLAS (the default one fights PyTorch's threads: three times slower), an
 * allocator that keeps its memory and asks for huge pages, and the vector math that torch.compile needs
 * with Debian's build. README.md has the measurements.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { RunError } from '../../src/errors.ts'
import { LineProcess } from '../support/line-process.ts'

export const peerVariants = ['top1', 'top2', '2top1-kx', '2top1-1x', '4top1-1x', 'dropless-top1'] as const
export type PeerVariant = (typeof peerVariants)[number]

export interface PeerShape {
  readonly layers: number
  readonly width: number
  readonly heads: number
  readonly experts: number
  /** Hidden width of an expert. */
  readonly hidden: number
  readonly vocabulary: number
  readonly sequence: number
  /** Sequences in a step. */
  readonly batch: number
}

export interface PeerOptions {
  /** Threads; default: what OpenMP takes, one a core. */
  readonly threads?: number
  /** `bf16`: bfloat16 weights and activations; in training beside float32 masters. Default: float32. */
  readonly precision?: 'float32' | 'bf16'
  /** With `bf16`: a step by hand, or one by autocast and autograd, as most would write it. Default: by hand. */
  readonly autocast?: boolean
  /** Force the same load on every expert, so that no assignment is dropped for imbalance. */
  readonly balanced?: boolean
  /** The Python to use; default: the first of the usual ones that has PyTorch. */
  readonly python?: string
}

/** What the peer says of itself when it is ready. */
export interface PeerInfo {
  readonly torch: string
  readonly threads: number
  /** Whether oneDNN runs the matmuls of activations with weights. */
  readonly onednn: boolean
  readonly precision: 'float32' | 'bf16'
  /** Whether torch.compile made vector code; always false for float32 training, which does without. */
  readonly compiled: boolean
  /** Linear algebra and threading libraries really loaded; `unknown` outside Linux. */
  readonly libraries: readonly string[]
  readonly parameters: number
  readonly balanced: boolean
}

export interface PeerRun {
  /** Milliseconds of each step, and of its two parts: forward and backward; clipping and AdamW. */
  readonly stepMs: readonly number[]
  readonly gradientMs: readonly number[]
  readonly updateMs: readonly number[]
  /** Tokens of all steps together. */
  readonly tokens: number
  /** Share of the assignments that no expert dropped, mean over layers and steps. */
  readonly keptShare: number
  /** Cross-entropy of the last step, nats a token. */
  readonly loss: number
  /** Largest resident memory of the process so far; null where Python cannot tell. */
  readonly peakMiB: number | null
}

export interface PeerGeneration {
  /** The greedy tokens; the first comes from the prompt. */
  readonly tokens: readonly number[]
  /** Milliseconds from the prompt to the first token. */
  readonly prefillMs: number
  /** Milliseconds of each later token. */
  readonly msPerToken: readonly number[]
  /** Of the later tokens. */
  readonly tokensPerSecond: number
  readonly peakMiB: number | null
}

const scriptOf = (name: 'pytorch_moe.py' | 'pytorch_autocast.py'): string =>
  fileURLToPath(new URL(`./${name}`, import.meta.url))
const triplets: Partial<Record<NodeJS.Architecture, string>> = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }

/** The environment that makes PyTorch fast on a CPU. */
function peerEnvironment(threads?: number): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' }
  // Each of these makes OpenBLAS or the OpenMP pool slower than its own choice.
  for (const name of ['OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE', 'OPENBLAS_NUM_THREADS', 'OMP_WAIT_POLICY'])
    delete env[name]
  if (threads !== undefined) env.OMP_NUM_THREADS = String(threads)
  if (process.platform !== 'linux') return env
  env.MALLOC_MMAP_THRESHOLD_ = String(2 ** 32)
  env.MALLOC_TRIM_THRESHOLD_ = String(2 ** 34)
  env.GLIBC_TUNABLES = 'glibc.malloc.hugetlb=1'
  const libraries = `/usr/lib/${triplets[process.arch]}`
  const openblas = join(libraries, 'openblas-openmp')
  if (existsSync(openblas)) env.LD_LIBRARY_PATH = [openblas, env.LD_LIBRARY_PATH].filter(Boolean).join(':')
  const vectorMath = join(libraries, 'libsleef.so.3')
  if (existsSync(vectorMath)) env.LD_PRELOAD = [vectorMath, env.LD_PRELOAD].filter(Boolean).join(':')
  return env
}

const withPyTorch = new Set<string>()

/** A Python with PyTorch. @throws RunError with how to install it when there is none. */
export async function findPyTorch(given?: string): Promise<string> {
  const candidates = given === undefined ? ['/usr/bin/python3', 'python3', 'python'] : [given]
  for (const python of candidates) {
    if (withPyTorch.has(python)) return python // asking takes seconds
    try {
      await promisify(execFile)(python, ['-c', 'import numpy, torch'], { env: peerEnvironment() })
      withPyTorch.add(python)
      return python
    } catch {
      // Missing, or a Python without PyTorch: the next may have it.
    }
  }
  throw new RunError(
    `PyTorch was not found (tried ${candidates.join(', ')}). On Debian and Ubuntu: ` +
      'apt-get install python3-torch python3-numpy libopenblas0-openmp; elsewhere: pip install torch numpy',
  )
}

/** Why the loaded libraries would make a comparison unfair; undefined when nothing is wrong. */
export function blasWarning({ libraries }: Pick<PeerInfo, 'libraries'>): string | undefined {
  if (!libraries.some((path) => path.includes('openblas-pthread'))) return undefined
  return 'PyTorch runs on the pthread build of OpenBLAS, about 3 times too slow: apt-get install libopenblas0-openmp'
}

/** Why bfloat16 or generation would be slower than PyTorch can be; undefined when nothing is wrong. */
export function compileWarning({ compiled }: Pick<PeerInfo, 'compiled'>): string | undefined {
  if (compiled) return undefined
  return 'torch.compile makes no vector code here, so PyTorch is slower than it could be: apt-get install g++ libtorch-dev libsleef-dev'
}

export class PyTorchPeer {
  readonly info: PeerInfo
  private readonly child: LineProcess

  private constructor(child: LineProcess, info: PeerInfo) {
    this.child = child
    this.info = info
  }

  /**
   * Starts a peer and waits until its model stands in memory.
   * @throws UsageError for a shape that the peer refuses, RunError when PyTorch is missing or fails.
   */
  static async start(shape: PeerShape, variant: PeerVariant, options: PeerOptions = {}): Promise<PyTorchPeer> {
    const child = await spawnPeer([...shapeFlags(shape), '--variant', variant], options)
    return new PyTorchPeer(child, (await child.answer()) as PeerInfo)
  }

  /**
   * Trains so many steps; one call at a time.
   * @throws RunError when the process fails or ends, or its loss is not finite: then its times mean nothing.
   */
  async run(steps: number): Promise<PeerRun> {
    const run = (await this.child.ask({ run: steps })) as PeerRun & { readonly loss: number | null }
    if (run.loss === null) throw new RunError('the loss of the PyTorch peer is not finite')
    return run
  }

  /** Ends the process and waits for its end. */
  async stop(): Promise<void> {
    await this.child.stop()
  }
}

/** The peer as a generator: one greedy stream with a key-value cache, dropless. */
export class PyTorchGenerator {
  readonly info: PeerInfo
  private readonly child: LineProcess

  private constructor(child: LineProcess, info: PeerInfo) {
    this.child = child
    this.info = info
  }

  /** Starts a generator; see `PyTorchPeer.start`. */
  static async start(
    shape: Omit<PeerShape, 'sequence' | 'batch'>,
    variant: PeerVariant,
    options: PeerOptions = {},
  ): Promise<PyTorchGenerator> {
    const child = await spawnPeer([...shapeFlags(shape), '--variant', variant, '--generate'], options)
    return new PyTorchGenerator(child, (await child.answer()) as PeerInfo)
  }

  /**
   * Generates `tokens` tokens (at least 2) after a prompt: its ids, or the length of a random one. The first call
   * with a longer sequence compiles; do not count it. @throws UsageError, RunError
   */
  async generate(tokens: number, prompt: number | readonly number[]): Promise<PeerGeneration> {
    return (await this.child.ask({ generate: tokens, prompt })) as PeerGeneration
  }

  /** Ends the process and waits for its end. */
  async stop(): Promise<void> {
    await this.child.stop()
  }
}

function shapeFlags(shape: Partial<PeerShape>): string[] {
  return Object.entries(shape).flatMap(([name, value]) => [`--${name}`, String(value)])
}

/** A case for `checkPeer`: tokens [B][S + 1], and every parameter by Choir's name, flat or nested. */
export interface PeerCase {
  readonly tokens: readonly (readonly number[])[]
  readonly parameters: Readonly<Record<string, unknown>>
}

export interface PeerCheck {
  readonly variant: PeerVariant
  /** What is minimised: cross-entropy, plus 0.01 · balance, plus 0.001 · z. */
  readonly total: number
  readonly loss: number
  /** Sums over layers of the router losses, before their coefficients. */
  readonly balance: number
  readonly z: number
  readonly keptShare: number
  /** Euclidean norm of the gradient of `total` in each parameter. */
  readonly gradientNorms: Readonly<Record<string, number>>
  /** Derivative along a random direction: by the gradient, and by a central difference. */
  readonly slope: number
  readonly differenceSlope: number
}

/** The peer's float64 losses of every variant for the case in a JSON file, to compare its model with another. */
export async function checkPeer(
  shape: Omit<PeerShape, 'sequence' | 'batch'>,
  path: string,
  options: PeerOptions = {},
): Promise<PeerCheck[]> {
  const child = await spawnPeer([...shapeFlags(shape), '--check', path], options)
  const found: PeerCheck[] = []
  while (found.length < peerVariants.length) found.push((await child.answer()) as PeerCheck)
  await child.stop()
  return found
}

async function spawnPeer(args: readonly string[], options: PeerOptions): Promise<LineProcess> {
  const python = await findPyTorch(options.python)
  const script = scriptOf(options.autocast ? 'pytorch_autocast.py' : 'pytorch_moe.py')
  const flags = [...args, '--precision', options.precision ?? 'float32', ...(options.balanced ? ['--balanced'] : [])]
  return new LineProcess('the PyTorch peer', python, [script, ...flags], peerEnvironment(options.threads))
}
