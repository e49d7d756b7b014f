/** The law of a study: fitted to all its questions with the view `map`, on one text. */

import type { RunConfig } from '../../../../core/config/run-config.ts'
import { type Law, lackingForLaw, lawOf } from '../../../law/law.ts'
import type { LawFile } from '../../../law/law-file.ts'
import type { FinishedRun, StudyResults } from '../../contract.ts'
import { Runs } from '../runs.ts'
import { type MapPair, pairsOf } from './pairs.ts'

export interface StudyLaw {
  /** The law; null while runs are missing, and then `lacking` has the reason. */
  readonly law: Law | null
  readonly lacking: string | null
  /** Pairs that the law is fitted to. */
  readonly pairs: readonly MapPair[]
  /** Number of pairs on other text, which are left out. */
  readonly elsewhere: number
  /** Number of pairs of trainings with too long a warm-up, which are left out: see {@link MAX_WARMUP}. */
  readonly tooShort: number
}

/**
 * Largest share of its steps that a training may spend on its warm-up to be fitted. The learning rate, which all lengths
 * share, is far too low for a training with a share of 0.7, and not for one with 0.18 (docs/findings.md, "The early
 * lead"). If it is too low, the loss depends on that rate and not only on the tokens. The limit is near the
 * end that is known to be safe.
 */
const MAX_WARMUP = 0.2

/** Laws that are fitted already: a law takes seconds, and both the report and law.json need it. */
const known = new WeakMap<StudyResults['cells'], StudyLaw>()

/** The law of a study; null if no question has the view `map`. */
export function studyLaw(results: StudyResults): StudyLaw | null {
  const maps = results.questions.filter(({ view }) => view === 'map')
  if (maps.length === 0) return null
  const found = known.get(results.cells)
  if (found) return found
  const all = pairsOf(new Runs(results), { contrasts: maps.flatMap(({ contrasts }) => contrasts) })
  const corpus = mostFrequent(all.map(({ runs }) => runs.dense.corpus))
  const onText = distinctPairs(all.filter(({ runs }) => runs.dense.corpus === corpus))
  const pairs = onText.filter(({ runs }) => warmupShare(runs.dense.config) <= MAX_WARMUP)
  const lacking = lackingForLaw(pairs)
  const made: StudyLaw = {
    law: lacking === null ? lawOf(pairs) : null,
    lacking,
    pairs,
    elsewhere: all.filter(({ runs }) => runs.dense.corpus !== corpus).length,
    tooShort: onText.length - pairs.length,
  }
  known.set(results.cells, made)
  return made
}

const warmupShare = ({ train }: RunConfig): number => train.schedule.warmup / train.steps

/** The contents of law.json; null if there is no law (yet). */
export function lawFileOf(results: StudyResults): Omit<LawFile, 'format'> | null {
  const found = studyLaw(results)
  if (!found?.law) return null
  const runs = distinctRuns(found.pairs)
  const [first] = runs
  if (!first) return null
  return {
    study: results.name,
    runs: runs.length,
    program: [...new Set(runs.map(({ program }) => program))].join(', '),
    numerics: first.version,
    corpus: first.corpus,
    source: [first.config.data.source].flat(),
    vocabulary: first.config.model.vocabulary,
    recipe: recipeOf(runs),
    ...found.law,
  }
}

const distinctRuns = (pairs: readonly MapPair[]): FinishedRun[] => [
  ...new Map(pairs.flatMap(({ runs }) => [runs.dense, runs.sparse]).map((run) => [run.key, run])).values(),
]

/** The pairs without repetitions: a contrast may be in two questions. */
const distinctPairs = (pairs: readonly MapPair[]): MapPair[] => [
  ...new Map(pairs.map((pair) => [`${pair.runs.dense.key} ${pair.runs.sparse.key}`, pair])).values(),
]

/** Settings that do not decide how good a model is. */
const irrelevant = /^model\.moe\.(compute|selection|hashSeed)$|^train\.(seed|\w*[eE]very|keep\w*|microBatches)$/

/** Settings of model and training that all runs share, and settings of experts that all runs with experts share. */
function recipeOf(runs: readonly { readonly config: RunConfig }[]): Record<string, unknown> {
  const values = new Map<string, Set<string>>()
  for (const { config } of runs)
    for (const [path, value] of [...leaves(config.model, 'model'), ...leaves(config.train, 'train')])
      if (path !== 'model.moe' && !irrelevant.test(path))
        values.set(path, (values.get(path) ?? new Set()).add(JSON.stringify(value)))
  return Object.fromEntries(
    [...values].flatMap(([path, texts]) => (texts.size === 1 ? [[path, JSON.parse([...texts][0] ?? 'null')]] : [])),
  )
}

function leaves(value: unknown, path: string): [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return value === undefined ? [] : [[path, value]]
  return Object.entries(value).flatMap(([name, inner]) => leaves(inner, `${path}.${name}`))
}

function mostFrequent(values: readonly string[]): string | undefined {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return [...counts].toSorted((a, b) => b[1] - a[1])[0]?.[0]
}
