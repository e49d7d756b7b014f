/**
 * Expert specialisation. Mutual information measures how much the expert of a token reveals about its year,
 * its party, or the token itself. Arms are compared by the share of this information in the expert's entropy,
 * because one expert of four cannot reveal as much as one of eight. The information that remains after
 * shuffling the documents is due to chance and finite counts, so it is subtracted first.
 */
import { group } from 'd3-array'
import { count, fixed, joinWords, percent } from '../../../../core/text/numbers.ts'
import type { Block, Cell, HeatFigure, Table } from '../../../report/blocks.ts'
import type { Section } from '../../../report/report.ts'
import type { Specialisation } from '../../contract.ts'
import { estimateMean, mean } from '../../statistics.ts'
import { estimateCell } from '../numbers.ts'
import type { Runs } from '../runs.ts'
import { shownBlocks, slug, table } from '../tables.ts'
import { routingOf } from './routing.ts'

const subjects = ['token', 'year', 'party'] as const
type Subject = (typeof subjects)[number]

/** Largest number of layers whose experts are drawn, and of experts of a layer in the table of tokens. */
const MAX_LAYERS = 4
const MAX_EXPERTS = 8

export function specialisationSection(runs: Runs): Section | null {
  const { specialisations } = runs.results
  if (specialisations.length === 0) return null
  return {
    id: 'specialisation',
    title: 'Expert specialisation',
    about:
      'How much the expert of a token reveals about the token, about the year of its document and about the party of its author: mutual information in nats, the part of it that is chance (what remains when labels are shuffled), and its share of the entropy of the expert, which is the most possible. The runs are those at the configured learning rate.',
    verdicts: [verdict(specialisations)],
    blocks: shownBlocks([
      informationTable(runs, specialisations),
      prototypeTable(runs),
      ...shown(specialisations).flatMap((one) => profile(runs, one)),
    ]),
  }
}

/** The specialisation of the lowest seed for each arm and text. */
function shown(all: readonly Specialisation[]): Specialisation[] {
  return groupsOf(all).map((group) => group.toSorted((a, b) => a.seed - b.seed)[0] as Specialisation)
}

const groupsOf = (all: readonly Specialisation[]): Specialisation[][] => [
  ...group(all, ({ arm, source }) => JSON.stringify([arm, source])).values(),
]

/** Information above chance over the entropy of the expert; null if unknown or the entropy is zero. */
function shareOf(one: Specialisation, subject: Subject): number | null {
  const row = one.information.find(({ of }) => of === subject)
  const share = row && row.entropy > 0 ? (row.nats - row.shuffled) / row.entropy : Number.NaN
  return Number.isFinite(share) ? share : null
}

function informationTable(runs: Runs, all: readonly Specialisation[]): Table | null {
  return table(
    'information',
    'Mutual information of the expert and the token, year or party, mean over layers and seeds. Shuffled: the same with shuffled labels. Shares: of the entropy of the expert; above chance: without the shuffled part.',
    [
      'Arm',
      'Text',
      'Seeds',
      'Of',
      'Nats',
      'Shuffled',
      'Entropy of the expert',
      'Share of entropy',
      'Share above chance',
    ],
    groupsOf(all).flatMap((group) =>
      subjects.flatMap((subject) => {
        const rows = group.flatMap(({ information }) => information.filter(({ of }) => of === subject))
        const [first] = group
        if (rows.length === 0 || first === undefined) return []
        const nats = mean(rows.map((row) => row.nats))
        const entropy = mean(rows.map((row) => row.entropy))
        return [
          [
            runs.label(first.arm),
            first.source,
            String(group.length),
            subject,
            fixed(nats, 4),
            fixed(mean(rows.map((row) => row.shuffled)), 4),
            fixed(entropy, 3),
            percent(nats === null || !entropy ? null : nats / entropy),
            percent(mean(group.flatMap((one) => shareOf(one, subject) ?? []))),
          ],
        ]
      }),
    ),
    [0, 1, 3],
  )
}

/** Prototypes against plain routing on the same text, seed by seed. */
function prototypeTable(runs: Runs): Table | null {
  const groups = groupsOf(runs.results.specialisations)
  const prototypesOf = (group: readonly Specialisation[]) => routingOf(runs, group[0]?.arm ?? '')?.prototypes ?? 1
  const rows = groups
    .filter((group) => prototypesOf(group) > 1)
    .flatMap((grouped) =>
      groups
        .filter((plain) => prototypesOf(plain) === 1 && plain[0]?.source === grouped[0]?.source)
        .flatMap((plain) => prototypeRows(runs, grouped, plain)),
    )
  return table(
    'prototypes',
    'Prototypes against plain routing: share of the entropy of the expert above chance, in per cent, and the difference by seed with its 95 % interval.',
    ['Arm', 'Text', 'Of', 'Prototypes, %', 'Plain, %', 'Difference'],
    rows,
    3,
  )
}

function prototypeRows(runs: Runs, grouped: readonly Specialisation[], plain: readonly Specialisation[]): Cell[][] {
  const [one, other] = [grouped[0], plain[0]]
  if (one === undefined || other === undefined) return []
  return subjects.flatMap((subject) => {
    const pairs = grouped.flatMap((a) => {
      const b = plain.find(({ seed }) => seed === a.seed)
      const shares = [shareOf(a, subject), b ? shareOf(b, subject) : null] as const
      return shares[0] === null || shares[1] === null ? [] : [{ a: 100 * shares[0], b: 100 * shares[1] }]
    })
    const estimate = estimateMean(pairs.map(({ a, b }) => a - b))
    if (estimate === null) return []
    return [
      [
        { text: runs.label(one.arm), note: `against ${runs.label(other.arm)}` },
        one.source,
        subject,
        fixed(mean(pairs.map(({ a }) => a)), 1),
        fixed(mean(pairs.map(({ b }) => b)), 1),
        estimateCell(estimate, 1),
      ],
    ]
  })
}

/** The subjects in the order of how much experts reveal about them, mean over arms and texts. */
function verdict(all: readonly Specialisation[]): string {
  const shares = subjects.flatMap((subject) => {
    const share = mean(all.flatMap((one) => shareOf(one, subject) ?? []))
    return share === null ? [] : [{ subject, share }]
  })
  if (shares.length === 0) return 'The entropy of the experts is not known.'
  const words = shares
    .toSorted((a, b) => b.share - a.share)
    .map(({ subject, share }) => `the ${subject} ${percent(share)}`)
  return `Share of the entropy of the expert that is explained above chance, mean over arms: by ${joinWords(words)}.`
}

function profile(runs: Runs, one: Specialisation): (Block | null)[] {
  return [
    heatFigure(runs, one, 'period', one.periods, ({ periods }) => periods),
    heatFigure(runs, one, 'party', one.parties, ({ parties }) => parties),
    tokenTable(runs, one),
  ]
}

/** At most `max` layers with experts, evenly spaced from first to last. */
function layersOf({ experts }: Specialisation, max: number): number[] {
  const layers = [...new Set(experts.map(({ layer }) => layer))].sort((a, b) => a - b)
  if (layers.length <= max) return layers
  return Array.from({ length: max }, (_, i) => layers[Math.round((i * (layers.length - 1)) / (max - 1))] ?? 0)
}

function heatFigure(
  runs: Runs,
  one: Specialisation,
  label: 'period' | 'party',
  columns: readonly string[],
  valuesOf: (profile: Specialisation['experts'][number]) => readonly number[],
): HeatFigure | null {
  const layers = layersOf(one, MAX_LAYERS)
  if (columns.length === 0 || layers.length === 0) return null
  return {
    kind: 'figure',
    id: slug(`specialisation-${one.arm}-${one.source}-${label}`),
    caption: `${runs.label(one.arm)}, seed ${one.seed}, on ${one.source} (${count(one.tokens)} tokens): share of each ${label} in an expert's tokens over its share in the text (1: no preference).`,
    form: 'heat',
    xLabel: label,
    yLabel: 'expert',
    valueLabel: 'share over the share in the text',
    middle: 1,
    panels: layers.map((layer) => {
      const experts = one.experts.filter((expert) => expert.layer === layer)
      return {
        title: `layer ${layer}`,
        columns,
        rows: experts.map(({ expert }) => String(expert)),
        values: experts.map((expert) =>
          columns.map((_, i) => {
            const value = valuesOf(expert)[i]
            return value !== undefined && Number.isFinite(value) ? value : null
          }),
        ),
      }
    }),
  }
}

function tokenTable(runs: Runs, one: Specialisation): Table | null {
  const layers = layersOf(one, 2)
  const rows = layers.flatMap((layer) =>
    one.experts
      .filter((expert) => expert.layer === layer && expert.tokens.length > 0)
      .toSorted((a, b) => b.share - a.share)
      .slice(0, MAX_EXPERTS)
      .map((expert) => [
        `layer ${layer}, expert ${expert.expert}`,
        percent(expert.share),
        expert.tokens.map(({ text, share }) => `“${text}” ${percent(share, 0)}`).join(', '),
      ]),
  )
  return table(
    `experts of ${one.arm} on ${one.source}`,
    `${runs.label(one.arm)}, seed ${one.seed}, on ${one.source}: the most typical tokens of each expert, with the share of their occurrences that it computes. First and last layer, the experts with the most tokens.`,
    ['Expert', 'Share of tokens', 'Tokens'],
    rows,
    [0, 2],
  )
}
