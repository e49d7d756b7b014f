/** The comparison of a simulated rank with its plan as text. */

import { titledTable } from '../../../../core/text/columns.ts'
import { bytes, fixed, grouped, percent, shortTime } from '../../../../core/text/numbers.ts'
import type { Compared, Simulation, SimulationEvent } from '../../../../tools/plan/local/simulation.ts'
import type { Colors } from '../../io.ts'
import { labelled } from '../display.ts'
import { engineLine, modelLine, routingLine } from '../summary.ts'

/** The line that shows the progress of a simulation. */
export function simulationEventText(event: SimulationEvent): string {
  if (event.kind === 'prepare') return `  ${event.message} ...\n`
  return `  step ${event.step}  ${shortTime(event.ms / 1000)}  loss ${fixed(event.loss, 3)}\n`
}

const memoryNames = {
  parameters: 'parameters',
  gradients: 'gradients',
  optimizer: 'optimizer state',
  scratch: 'exchange and scratch',
  activations: 'activations',
}

const secondsNames = {
  layers: 'layers',
  ends: 'embedding and head',
  update: 'norm and update',
  additions: 'sums of gradients',
}

export function simulationText(simulation: Simulation, name: string, colors: Colors): string {
  const { memory, resident, seconds, otherSeconds, traffic, wholeTraffic, layers, config } = simulation
  const isWhole = layers === config.model.layers
  const depth = isWhole ? '' : `, ${layers} of ${config.model.layers} layers`
  const trafficRows = Object.entries(traffic).flatMap(([channel, { sentBytes, receivedBytes }]) => {
    const whole = wholeTraffic[channel as keyof typeof wholeTraffic]
    const row = (direction: string, compared: Compared, all: number) => [
      `${channel} ${direction}`,
      ...comparedCells(compared, bytes),
      ...(isWhole ? [] : [bytes(all)]),
    ]
    return [row('sent', sentBytes, whole.sentBytes), row('received', receivedBytes, whole.receivedBytes)]
  })
  const trafficTitles = [`traffic of a step${depth}`, 'counted', 'planned', 'ratio']
  return [
    '',
    `  ${colors.bold(`one rank of ${simulation.layout.ranks}, simulated: ${name}`)}`,
    '',
    labelled(facts(simulation), colors),
    ...comparison('memory of the rank', memory, memoryNames, bytes, colors),
    ...(resident
      ? [
          ...titledTable(
            [`memory of this process${depth}`, 'measured', 'planned', 'ratio'],
            [['peak', ...comparedCells(resident, bytes)]],
            'lrrr',
            colors,
          ),
          '',
        ]
      : []),
    ...comparison('computation of a step', seconds, secondsNames, shortTime, colors),
    `  A measured step has ${shortTime(otherSeconds)} besides: made-up exchanges, waiting, JavaScript.`,
    '',
    ...titledTable(isWhole ? trafficTitles : [...trafficTitles, 'all layers'], trafficRows, 'lrrrr', colors),
    '',
    '',
  ].join('\n')
}

function facts({ config, layout, layers, kept, ...engine }: Simulation): [string, string][] {
  const { ranks, expert, shards, rank } = layout
  const all = config.model.layers
  const unplanned: [string, string][] =
    config.runtime.device === 'webgpu'
      ? [['plan', 'of state and traffic; times and activations are planned for processors only']]
      : []
  const { batch, microBatches, optimizer } = config.train
  return [
    ['model', modelLine(config)],
    ['experts', routingLine(config)],
    [
      'layout',
      `rank ${rank} of ${ranks}; experts of a layer on ${expert} rank${expert === 1 ? '' : 's'}, ` +
        `${ranks / expert} ${ranks === expert ? 'copy' : 'copies'} of each; optimizer state divided (ZeRO 1)`,
    ],
    [
      'step',
      `${grouped(batch)} sequences in ${shards} shards of ${microBatches} passes, ${optimizer.own ?? optimizer.kind}`,
    ],
    ['engine', engineLine(engine)],
    [
      'depth',
      layers === all
        ? `all ${all} layers`
        : `${layers} of ${all} layers fit here: what belongs to layers is scaled to ${all}, the rest counts once`,
    ],
    ['load', `random tokens; ${percent(kept)} of the assignments kept, as planned`],
    ...unplanned,
    ['loss', 'means nothing, since what other ranks would send is made up; nothing is written'],
  ]
}

const comparedCells = ({ measured, planned }: Compared, format: (value: number) => string): string[] => [
  format(measured),
  planned === null ? '' : format(planned),
  measured > 0 && planned !== null ? fixed(planned / measured, 2) : '',
]

function comparison(
  title: string,
  parts: Readonly<Record<string, Compared | undefined>>,
  names: Readonly<Record<string, string>>,
  format: (value: number) => string,
  colors: Colors,
): string[] {
  const given = Object.entries(parts).flatMap(([kind, compared]) => (compared ? [{ kind, compared }] : []))
  const sum = (of: (compared: Compared) => number) => given.reduce((total, { compared }) => total + of(compared), 0)
  const isPlanned = given.every(({ compared }) => compared.planned !== null)
  const planned = isPlanned ? sum((compared) => compared.planned ?? 0) : null
  const total = { measured: sum(({ measured }) => measured), planned }
  const rows = given.map(({ kind, compared }) => [names[kind] ?? kind, ...comparedCells(compared, format)])
  return [
    ...titledTable(
      [title, 'measured', 'planned', 'ratio'],
      [...rows, ['in all', ...comparedCells(total, format)]],
      'lrrr',
      colors,
    ),
    '',
  ]
}
