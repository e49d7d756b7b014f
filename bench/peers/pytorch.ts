/**
 * PyTorch as the peer of a benchmark: a child process that trains the same model, or generates with it, on command,
 * and otherwise waits, so that a benchmark can alternate it with Choir.
 */
import { fileURLToPath } from 'node:url'
import { RunError } from '../../src/core/errors.ts'
import { LineProcess } from '../support/line-process.ts'
import { findPyTorch, type PeerDevice, peerEnvironment } from './python.ts'

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

export interface PeerOptions extends Partial<PeerDevice> {
  /** Number of threads; default: OpenMP's, one per core. */
  readonly threads?: number
  /** `bf16` has bfloat16 weights and activations, and in training float32 master weights. Default: float32. */
  readonly precision?: 'float32' | 'bf16'
  /** Whether a step uses modules, autograd and (in bf16) autocast, the usual way; otherwise it is written by hand. */
  readonly autograd?: boolean
  /** Whether `torch.compile` may be used. Default: true. */
  readonly compile?: boolean
  /** Forces the same load on every expert, so that imbalance drops no assignment. */
  readonly balanced?: boolean
}

/** The description that the peer sends when it is ready. */
export interface PeerInfo {
  readonly torch: string
  readonly threads: number
  /** Whether oneDNN runs the matmuls of activations with weights. */
  readonly onednn: boolean
  readonly precision: 'float32' | 'bf16'
  /** Whether torch.compile generates vector code; always false for float32 training, which does not use it. */
  readonly compiled: boolean
  /** Loaded libraries for linear algebra and threading; `unknown` outside Linux. */
  readonly libraries: readonly string[]
  /** Whether PyTorch includes MKL, as builds of pip for x86 do. */
  readonly mkl: boolean
  readonly parameters: number
  readonly balanced: boolean
  /** The name of the GPU, or `cpu`. */
  readonly device: string
}

export interface PeerRun {
  /**
   * Milliseconds of each step and of its two parts: gradient (forward, backward) and update (clipping, AdamW). On a GPU
   * the gradient ends when its work is ordered, and the update includes waiting for all work.
   */
  readonly stepMs: readonly number[]
  readonly gradientMs: readonly number[]
  readonly updateMs: readonly number[]
  /** Tokens of all steps together. */
  readonly tokens: number
  /** Share of assignments that are not dropped, mean over layers and steps. */
  readonly keptShare: number
  /** Cross-entropy of the last step, nats a token. */
  readonly loss: number
  /** Peak resident memory of the process; null if Python cannot measure it. */
  readonly peakMiB: number | null
}

export interface PeerGeneration {
  /** The greedy tokens; the first comes from the prompt. */
  readonly tokens: readonly number[]
  /** Milliseconds from the prompt to the first token. */
  readonly prefillMs: number
  /** Milliseconds of each later token. */
  readonly msPerToken: readonly number[]
  /** Rate of the tokens after the first. */
  readonly tokensPerSecond: number
  readonly peakMiB: number | null
}

const scriptOf = (name: 'pytorch_moe.py' | 'pytorch_autocast.py' | 'pytorch_products.py'): string =>
  fileURLToPath(new URL(`./${name}`, import.meta.url))
/** The peer that README.md documents, as fast as we could make PyTorch run. Times of other peers are not compared. */
export interface DocumentedPeer {
  readonly threads: number
  /** Whether the peer uses `torch.compile`. */
  readonly compiled: boolean
}

/**
 * Refuses a PyTorch that is not the documented peer. A ratio to a slower one would flatter Choir: with the pthread
 * build of OpenBLAS a step in float32 takes several times as long.
 * @throws RunError naming each difference and what to install
 */
export function expectDocumented(
  info: Pick<PeerInfo, 'libraries' | 'mkl' | 'threads' | 'compiled'>,
  expected: DocumentedPeer,
): void {
  const problems = [blasProblem(info), threadsProblem(info, expected), expected.compiled && compileProblem(info)]
  const found = problems.filter((problem) => typeof problem === 'string')
  if (found.length === 0) return
  throw new RunError(
    `PyTorch is not the documented peer (bench/peers/README.md), so nothing is compared with it:\n  ${found.join('\n  ')}`,
  )
}

/** The problem with the BLAS library, if any. Only Linux lists loaded libraries; elsewhere none is reported. */
function blasProblem({ libraries, mkl }: Pick<PeerInfo, 'libraries' | 'mkl'>): string | undefined {
  if (mkl || libraries.some((path) => path.includes('openblas-openmp')) || libraries.join() === 'unknown')
    return undefined
  const blas = libraries.filter((path) => path.includes('blas'))
  return (
    `its BLAS is ${blas.join(', ') || 'unknown'} (expected the OpenMP build of OpenBLAS, or MKL: apt-get install ` +
    'libopenblas0-openmp)'
  )
}

function threadsProblem({ threads }: Pick<PeerInfo, 'threads'>, expected: DocumentedPeer): string | undefined {
  if (threads === expected.threads) return undefined
  return `it uses ${threads} threads (expected ${expected.threads}, as many as Choir)`
}

function compileProblem({ compiled }: Pick<PeerInfo, 'compiled'>): string | undefined {
  if (compiled) return undefined
  return 'torch.compile generates no vector code (expected it to: apt-get install g++ libtorch-dev libsleef-dev)'
}

class Peer {
  readonly info: PeerInfo
  protected readonly child: LineProcess

  constructor(child: LineProcess, info: PeerInfo) {
    this.child = child
    this.info = info
  }

  /** Stops the process and waits until it has exited. */
  stop(): Promise<void> {
    return this.child.stop()
  }
}

export class PyTorchPeer extends Peer {
  /**
   * Starts a peer and waits until its model is in memory.
   * @throws UsageError for a shape that the peer refuses, RunError if PyTorch is missing or fails.
   */
  static async start(shape: PeerShape, variant: PeerVariant, options: PeerOptions = {}): Promise<PyTorchPeer> {
    const child = await spawnPeer([...shapeFlags(shape), '--variant', variant], options)
    return new PyTorchPeer(child, (await child.answer()) as PeerInfo)
  }

  /**
   * Trains `steps` steps; one call at a time.
   * @throws RunError if the process fails or exits, or if its loss is not finite, which makes its times meaningless.
   */
  async run(steps: number): Promise<PeerRun> {
    const run = (await this.child.ask({ run: steps })) as PeerRun & { readonly loss: number | null }
    if (run.loss === null) throw new RunError('the loss of the PyTorch peer is not finite')
    return run
  }
}

/** The peer as a generator: one greedy text with a key-value cache, dropless. */
export class PyTorchGenerator extends Peer {
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
   * Generates `tokens` tokens (at least 2) after a prompt, given as ids or as the length of a random one. The first
   * call with a longer sequence includes compilation: do not count it. @throws UsageError, RunError
   */
  async generate(tokens: number, prompt: number | readonly number[]): Promise<PeerGeneration> {
    return (await this.child.ask({ generate: tokens, prompt })) as PeerGeneration
  }
}

/** A batch of `count` products of an m × k and a k × n matrix. */
export interface PeerProduct {
  readonly count: number
  readonly m: number
  readonly n: number
  readonly k: number
  readonly precision: 'float32' | 'bf16' | 'f16'
}

/** PyTorch's own matrix products, float32 without TF32. */
export class PyTorchProducts {
  readonly info: Pick<PeerInfo, 'torch' | 'device'>
  private readonly child: LineProcess

  private constructor(child: LineProcess, info: Pick<PeerInfo, 'torch' | 'device'>) {
    this.child = child
    this.info = info
  }

  /** @throws RunError if PyTorch is missing or fails */
  static async start({ python, device, threads }: PeerOptions = {}): Promise<PyTorchProducts> {
    const args = [scriptOf('pytorch_products.py'), ...(device === undefined ? [] : ['--device', device])]
    const child = new LineProcess('PyTorch', await findPyTorch(python), args, peerEnvironment(threads))
    return new PyTorchProducts(child, (await child.answer()) as PeerInfo)
  }

  /** Milliseconds of the product, the best of several measurements. @throws RunError if it fails */
  async time(product: PeerProduct): Promise<number> {
    return ((await this.child.ask(product)) as { ms: number }).ms
  }

  stop(): Promise<void> {
    return this.child.stop()
  }
}

export function shapeFlags(shape: Partial<PeerShape>): string[] {
  return Object.entries(shape).flatMap(([name, value]) => [`--${name}`, String(value)])
}

/** A case for `checkPeer`: tokens [B][S + 1], and all parameters by Choir's names, flat or nested. */
export interface PeerCase {
  readonly tokens: readonly (readonly number[])[]
  readonly parameters: Readonly<Record<string, unknown>>
}

export interface PeerCheck {
  readonly variant: PeerVariant
  /** The objective: cross-entropy + 0.01 · balance + 0.001 · z. */
  readonly total: number
  readonly loss: number
  /** Router losses without their coefficients, summed over layers. */
  readonly balance: number
  readonly z: number
  readonly keptShare: number
  /** Euclidean norm of the gradient of `total` with respect to each parameter. */
  readonly gradientNorms: Readonly<Record<string, number>>
  /** Derivative along a random direction: by the gradient, and by a central difference. */
  readonly slope: number
  readonly differenceSlope: number
}

/** The peer's float64 losses for the case in a JSON file, one result per variant, to compare with another model. */
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
  const { precision = 'float32', autograd, device, compile = true, balanced, threads } = options
  const python = await findPyTorch(options.python)
  const script = scriptOf(autograd ? 'pytorch_autocast.py' : 'pytorch_moe.py')
  const flags = ['--precision', precision, ...(balanced ? ['--balanced'] : []), ...(device ? ['--device', device] : [])]
  const env = { ...peerEnvironment(threads), ...(!compile && { TORCHDYNAMO_DISABLE: '1' }) }
  return new LineProcess('the PyTorch peer', python, [script, ...args, ...flags], env)
}
