/**
 * The share of a training step outside matrix products, from a profile.
 *
 * It has two definitions. The first is the time outside the kernels that multiply matrices. But some of these kernels
 * do more than multiply (the activation of an expert, the softmax of attention), and each is slower than it could be.
 * The second, stricter definition is the time beyond what the matmul operations of the step take at the measured rate
 * of large matmuls.
 */

import type { BenchmarkRouting } from '../../src/core/config/presets.ts'
import { RunError } from '../../src/core/errors.ts'
import { fixed, percent } from '../../src/core/text/numbers.ts'
import type { BenchmarkResult } from '../../src/node/measure/benchmark.ts'
import type { StepProfile } from '../../src/train/measure/step-profile.ts'
import { checkEngine, choiceName, choirLines, type EngineChoice, type EngineName } from '../support/choir.ts'
import { tableText } from '../support/command.ts'
import { type Machine, resultFile, shownPath, thisMachine, today, writeJson } from '../support/results.ts'

export interface ProfileOptions extends EngineChoice {
  readonly shape: string
  readonly routing: BenchmarkRouting
  readonly steps: number
  readonly out?: string
}

/** A kind of kernel or ONNX operator of one provider, per step. */
interface Work {
  readonly provider: string
  readonly kind: string
  readonly matmul: boolean
  readonly ms: number
  readonly gigaflop: number
}

export interface ProfileResult extends EngineChoice {
  readonly shape: string
  readonly routing: BenchmarkRouting
  readonly date: string
  readonly provider: string
  readonly machine: Machine
  readonly steps: number
  readonly peakGflops: number
  /** Mean step time during recording. */
  readonly stepMs: number
  /** Share of the step outside the kernels that multiply matrices. */
  readonly otherShare: number
  /** Share of the step beyond the time that these kernels' operations take at the rate of large matmuls. */
  readonly beyondCeilingShare: number
  /** The kinds of work, longest first. */
  readonly work: readonly Work[]
}

/** The kernels of each engine that multiply matrices. With oneDNN, the small products of ONNX Runtime do not count. */
const matmuls: Readonly<Record<EngineName, { readonly provider: string; readonly kinds: readonly string[] }>> = {
  onednn: {
    provider: 'oneDNN',
    kinds: ['matmul', 'expert-ffn', 'expert-ffn-gradient', 'attention', 'attention-gradient'],
  },
  onnxruntime: { provider: 'ONNX Runtime', kinds: ['MatMul', 'Gemm', 'FusedMatMul'] },
}

export const profileName = (options: Pick<ProfileOptions, 'shape' | 'math' | 'engine'>): string =>
  `profile-${options.shape}-${choiceName(options)}`

export async function profileStep(options: ProfileOptions): Promise<void> {
  const { shape, routing, math, engine, threads, steps } = options
  process.stderr.write(`  ${shape}, ${math}, ${routing} ...\n`)
  const args = ['bench', '--shape', shape, '--only', routing, '--math', math, '--threads', String(threads)]
  let profile: StepProfile | undefined
  for await (const line of choirLines([...args, '--steps', String(steps), '--profile', '--json'], engine)) {
    const { kind } = line as { kind: string }
    if (kind === 'bench') checkEngine(line as BenchmarkResult, options)
    if (kind === 'profile') profile = line as unknown as StepProfile
  }
  if (!profile) throw new RunError('choir bench --profile printed no profile')
  const result = summary(options, profile)
  const file = options.out ?? resultFile(profileName(options), shape === 'tiny')
  await writeJson(file, result)
  process.stdout.write(`${report(result)}\n  ${shownPath(file)}\n`)
}

function summary({ shape, routing, math, engine, threads }: ProfileOptions, profile: StepProfile): ProfileResult {
  const { steps, microseconds, nodes, peakFlops, provider } = profile
  const groups = new Map<string, Work>()
  for (const { provider, kind, microseconds, flops = 0 } of nodes) {
    const key = `${provider} ${kind}`
    const { ms, gigaflop } = groups.get(key) ?? { ms: 0, gigaflop: 0 }
    groups.set(key, {
      provider,
      kind,
      matmul: provider === matmuls[engine].provider && matmuls[engine].kinds.includes(kind),
      ms: ms + microseconds / steps / 1000,
      gigaflop: gigaflop + flops / steps / 1e9,
    })
  }
  const work = [...groups.values()].sort((a, b) => b.ms - a.ms)
  const products = work.filter(({ matmul }) => matmul)
  const sum = (value: (item: Work) => number) => products.reduce((total, item) => total + value(item), 0)
  const stepMs = microseconds / steps / 1000
  const ceilingMs = (1e12 * sum(({ gigaflop }) => gigaflop)) / peakFlops
  return {
    shape,
    routing,
    math,
    engine,
    threads,
    date: today(),
    provider,
    machine: thisMachine(threads),
    steps,
    peakGflops: peakFlops / 1e9,
    stepMs,
    otherShare: 1 - sum(({ ms }) => ms) / stepMs,
    beyondCeilingShare: 1 - ceilingMs / stepMs,
    work,
  }
}

/** Kinds below this share of the step are merged into one row. */
const MIN_SHARE = 0.005

function report({ work, stepMs, otherShare, beyondCeilingShare, peakGflops, provider, math }: ProfileResult): string {
  const timed = (list: readonly Work[]) => list.reduce((total, { ms }) => total + ms, 0)
  const small = work.filter(({ ms }) => ms < MIN_SHARE * stepMs)
  const rows = [
    ...work.filter((item) => !small.includes(item)),
    { kind: `other (${small.length})`, provider: '', matmul: false, ms: timed(small), gigaflop: 0 },
    { kind: 'JavaScript, and waiting', provider: '', matmul: false, ms: stepMs - timed(work), gigaflop: 0 },
  ].map(({ kind, provider, matmul, ms, gigaflop }) => [
    kind,
    provider,
    fixed(ms, 1),
    percent(ms / stepMs),
    matmul ? `${fixed((1000 * gigaflop) / ms, 0)} GFLOP/s` : '',
  ])
  return `
  ${provider}, ${math}; a step of ${fixed(stepMs, 0)} ms, matmul ceiling ${fixed(peakGflops, 0)} GFLOP/s
${tableText([['kernel or operator', 'run by', 'ms a step', 'share', 'rate'], ...rows], 'llrrr')}
  outside the kernels that multiply matrices  ${percent(otherShare)}
  beyond the matmul ceiling                   ${percent(beyondCeilingShare)}
`
}
