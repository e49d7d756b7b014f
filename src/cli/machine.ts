/**
 * What computes here and how fast it can: the head of `choir bench`. It is measured in processes of its own,
 * so that its memory does not count as a training's, and so that ONNX Runtime can be measured alone.
 */
import type { Machine } from '../measure/machine.ts'
import { bytes, fixed, flops } from '../text/numbers.ts'
import { labelled } from './display/display.ts'
import type { Colors, Io } from './io.ts'
import { wrap } from './layout.ts'
import { type EngineFlags, engineArgs } from './options.ts'
import { engineLine } from './summary.ts'

export interface MeasuredMachine extends Machine {
  /** The float32 matmul rate without oneDNN, where there is oneDNN to compare with. */
  readonly alonePeakFlops?: number
}

export async function measureApart(io: Io, flags: EngineFlags): Promise<MeasuredMachine> {
  const ceilings = async (flags: EngineFlags, env?: Readonly<Record<string, string>>): Promise<Machine> => {
    const { kind: _, ...machine } = JSON.parse(
      await io.runSelf(['bench', '--ceilings', ...engineArgs(flags), '--json'], env),
    )
    return machine
  }
  const machine = await ceilings(flags)
  if (!machine.kernels) return machine
  const alone = await ceilings({ ...flags, math: 'float32' }, { CHOIR_DNNL: 'off' })
  return { ...machine, alonePeakFlops: alone.peakFlops }
}

export function machineText(machine: MeasuredMachine, io: Io, colors: Colors): string {
  const { alonePeakFlops: alone, peakFlops, bandwidth, kernels, math } = machine
  const gain =
    alone === undefined
      ? ''
      : `, ${fixed(peakFlops / alone, 2)} × ONNX Runtime alone (${flops(alone)}/s${math === 'bf16' ? ' in float32' : ''})`
  const head = labelled(
    [
      ['engine', colors.bold(engineLine(machine))],
      ['matmul ceiling', `${flops(peakFlops)}/s${gain}`],
      ['memory ceiling', `${bytes(bandwidth)}/s`],
    ],
    colors,
  )
  if (kernels || io.env.CHOIR_DNNL === 'off') return `\n${head}`
  const width = Math.min(io.stdout.columns ?? 80, 84) - 2
  const advice = wrap(installing, width).map((line) => `  ${colors.dim(line)}\n`)
  return `\n${head}\n${advice.join('')}`
}

const installing =
  'oneDNN is used where it is installed: on Debian and Ubuntu by "apt-get install libdnnl3.6" (or the version ' +
  'that "apt-cache search libdnnl" names), elsewhere by CHOIR_DNNL=PATH of libdnnl 3.4 or later. ' +
  'What it would gain on this machine is not measured.'
