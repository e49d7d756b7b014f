/** Targets of training over ranks, for bench/targets.ts. */
import { fixed, percent } from '../../../src/core/text/numbers.ts'
import type { RowFile } from '../../support/results.ts'
import type { Figure, Target } from '../../support/target.ts'
import type { HandOver } from './collectives.ts'
import { type LinksRow, linkLayouts } from './links.ts'
import type { MemoryRow } from './memory.ts'
import type { PeerRow } from './peer.ts'
import type { ScalingRow } from './scaling.ts'

type Read = (name: string) => Promise<unknown>

const times = (value: number): string => `${fixed(value, 2)} ×`

export async function distributedTargets(read: Read): Promise<Target[]> {
  const rowsOf = async <Row>(part: string): Promise<readonly Row[]> =>
    ((await read(`distributed-${part}`)) as RowFile<Row> | undefined)?.rows ?? []
  const command = (part: string, shape: string) =>
    `npx tsx bench/training/distributed.ts --only ${part} --shape ${shape} --turns 10`
  const links = (await rowsOf<LinksRow>('links-S')).filter(({ variant }) => variant === '')
  const scaling = await rowsOf<ScalingRow>('scaling-M')
  const scaled = (start: string): Figure[] =>
    scaling.filter(({ name }) => name.startsWith(start)).map(({ name, speedup }) => ({ routing: name, value: speedup }))
  const memory = await rowsOf<MemoryRow>('memory-S')
  const orders = (await rowsOf<HandOver>('hand-over')).filter(({ shape }) => shape === 'S')
  const peer = await rowsOf<PeerRow>('pytorch-S')
  return [
    {
      name: 'ranks: wait over time on the wire',
      shape: 'S',
      bound: 'max',
      // The requirement is nine tenths of the wire's rate; the aim is to hide nine tenths of the time.
      required: 1 / 0.9,
      aim: 0.1,
      figures: links.map(({ layout, exposedMs, wireMs }) => ({ routing: layout, value: exposedMs / wireMs })),
      expected: linkLayouts.length,
      show: times,
      command: command('links', 'S'),
    },
    {
      name: 'ranks: two against one process',
      shape: 'M',
      bound: 'min',
      required: 1.8,
      aim: 1.9,
      figures: scaled('strong'),
      expected: 2,
      show: times,
      command: command('scaling', 'M'),
    },
    {
      name: 'ranks: one against no ranks',
      shape: 'M',
      bound: 'min',
      required: 0.98,
      aim: 1,
      figures: scaled('one rank'),
      expected: 1,
      show: times,
      command: command('scaling', 'M'),
    },
    {
      name: 'ranks: memory, beyond the prediction',
      shape: 'S',
      bound: 'max',
      required: 0.05,
      aim: 0.01,
      figures: memory.flatMap(({ layout, stateBytes, programBytes, predictedBytes: predicted }) =>
        predicted === null ? [] : [{ routing: layout, value: Math.abs((stateBytes + programBytes) / predicted - 1) }],
      ),
      expected: 3,
      show: (value) => percent(value, 1),
      command: command('memory', 'S'),
    },
    {
      name: 'ranks: handing over orders, of a step',
      shape: 'S',
      bound: 'max',
      required: 0.01,
      aim: 0.005,
      figures: orders.map(({ library, share }) => ({ routing: library, value: share })),
      expected: 1,
      show: (value) => percent(value, 2),
      command: command('collectives', 'S'),
    },
    {
      name: 'ranks: speed against PyTorch with Gloo',
      shape: 'S',
      bound: 'min',
      required: 1.1,
      aim: 1.5,
      figures: peer.map(({ layout, place, speedRatio }) => ({ routing: `${layout}, ${place}`, value: speedRatio })),
      expected: 4,
      show: times,
      command: command('peer', 'S'),
    },
  ]
}
