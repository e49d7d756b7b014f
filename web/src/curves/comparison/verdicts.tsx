/**
 * The verdict on each arm by held-out loss, above the curves; it is also the legend of their lines. Under the verdicts
 * stand the runs that they are not about, and what the intervals mean.
 */
import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useMemo } from 'preact/hooks'
import { metricName } from '../../../../src/core/text/metrics.ts'
import { grouped, plural } from '../../../../src/core/text/numbers.ts'
import type { DifferencesAnswer } from '../../../../src/faces/watch/api.ts'
import { baseline } from '../../runs/baseline.ts'
import { Swatch } from '../../runs/swatch.tsx'
import { sharedFolder } from '../../runs/table-state.ts'
import { pointAt, runOf, shownRuns } from '../../store.ts'
import type { Contrast } from './arms.ts'
import { arms, type Comparison, comparison, shortArm } from './comparison.ts'
import { contrastOf } from './difference-lines.ts'
import { DifferencesLoader } from './differences-loader.ts'
import { verdictMetric } from './verdict-metric.ts'
import { verdictText } from './verdict-text.ts'

/** The curve of this request is not drawn. */
const FEWEST_POINTS = 10
const always = signal(true)

export function Verdicts() {
  if (baseline.value === '') return null
  const found = comparison.value
  if (found) return <Panel compared={found} />
  return (
    <section class="verdicts" aria-label="Comparison">
      <p role="status">
        {arms.value.length < 2
          ? 'There is no second arm to compare among the shown runs.'
          : 'No run of the baseline is shown, so the curves are not compared.'}{' '}
        <button type="button" onClick={() => (baseline.value = '')}>
          Stop comparing
        </button>
      </p>
    </section>
  )
}

function Panel({ compared }: { readonly compared: Comparison }) {
  const metric = verdictMetric(
    [compared.baseline, ...compared.contrasts.map(({ arm }) => arm)],
    new Set(shownRuns.value.flatMap(({ metrics }) => metrics)),
  )
  const loader = useMemo(() => new DifferencesLoader(metric, FEWEST_POINTS, false), [metric])
  useEffect(() => loader.follow(always), [loader])
  const answer = loader.answer.value
  const loss = metricName(metric)
  // Held-out loss, capacity of training, compared with ...
  const title = `${loss}${loss.includes(',') ? ',' : ''} compared with ${shortArm(compared.baseline)}`
  const { contrasts, refused, more } = compared
  return (
    <section class="verdicts" aria-label={title}>
      <h2>
        {title} <span class="quiet">nats a token, lower is better</span>
      </h2>
      {loader.problem.value !== null && answer === null && <p class="bad">{loader.problem.value}</p>}
      <ul>
        {contrasts.map((contrast) => (
          <Verdict key={contrast.arm.runs[0]?.id} contrast={contrast} compared={compared} answer={answer} />
        ))}
      </ul>
      <LeftOut compared={compared} answer={answer} />
      {refused.map(({ arm, problem }) => (
        <Note key={arm.runs[0]?.id}>
          Not compared: {shortArm(arm)} ({problem}).
        </Note>
      ))}
      {more > 0 && <Note>{plural(more, 'more arm')} not compared: filter the runs to see them.</Note>}
      <OnPart />
      <Meaning fewest={answer?.fewestPairs ?? null} />
    </section>
  )
}

interface VerdictProps {
  readonly contrast: Contrast
  readonly compared: Comparison
  readonly answer: DifferencesAnswer | null
}

function Verdict({ contrast, compared, answer }: VerdictProps) {
  const { arm } = contrast
  const id = arm.runs[0]?.id ?? ''
  const difference = answer?.differences.find((each) => contrastOf([contrast], each))
  const verdict = difference?.verdict
  const name = shortArm(arm)
  const isDecided = verdict?.outcome === 'lower' || verdict?.outcome === 'higher'
  return (
    <li class={isDecided ? 'decided' : ''} onPointerEnter={() => pointAt(id)} onPointerLeave={() => pointAt(null)}>
      <Swatch run={id} />
      {verdict && answer ? (
        <span>
          {verdictText(verdict, {
            arm: name,
            baseline: shortArm(compared.baseline),
            of: answer.differences.length,
            fewest: answer.fewestPairs,
            steps: runOf(id)?.steps ?? null,
          })}
        </span>
      ) : (
        <span class="quiet">
          {name}: {answer ? 'no pair of runs has held-out losses of both yet' : '…'}
        </span>
      )}
    </li>
  )
}

/** Number of runs that a note names. */
const MAX_NAMED = 4

/** Names the runs that are in no pair, with the reason. */
function LeftOut({ compared, answer }: Omit<VerdictProps, 'contrast'>) {
  // A run of the baseline is in pairs of several arms.
  const reasons = new Map(
    answer?.differences.flatMap(({ leftOut }) => leftOut.map(({ run, reason }) => [run, reason] as const)),
  )
  const failed = [...reasons].map(([run, reason]) => `${shortRun(runOf(run)?.name ?? run)} (${reason})`)
  const alone = compared.contrasts.flatMap(({ unpaired }) => unpaired.map(({ name }) => shortRun(name)))
  const repeated = [compared.baseline, ...compared.contrasts.map(({ arm }) => arm)].flatMap((arm) =>
    arm.repeated.map(({ path }) => path),
  )
  return (
    <>
      {failed.length > 0 && <Note bad>Left out, with their pairs: {named(failed)}.</Note>}
      {alone.length > 0 && <Note>Without a run of the baseline of the same seed: {named(alone)}.</Note>}
      {repeated.length > 0 && <Note>A newer run of the same seed is used instead of: {named(repeated)}.</Note>}
    </>
  )
}

const shortRun = (name: string): string =>
  name.startsWith(sharedFolder.value) ? name.slice(sharedFolder.value.length) : name

const named = (names: readonly string[]): string => {
  const more = names.length - MAX_NAMED
  return `${names.slice(0, MAX_NAMED).join('; ')}${more > 0 ? `; and ${more} more` : ''}`
}

/** Notes that evaluations are on a part of the held-out text. */
function OnPart() {
  const [tokens] = shownRuns.value.flatMap(({ heldOutPart }) => heldOutPart ?? [])
  if (tokens === undefined) return null
  return (
    <Note>
      The losses are on a part of the held-out text only ({grouped(tokens)} tokens, train.evalBatches); the report of a
      study uses all of it.
    </Note>
  )
}

/** What the intervals promise, and what they do not. */
function Meaning({ fewest }: { readonly fewest: number | null }) {
  return (
    <details class="quiet">
      <summary>The intervals stay valid while you watch</summary>
      <p>
        A pair is a run of the arm and a run of the baseline with the same seed, which read the same batches. The 95 %
        intervals at a step{fewest !== null && `, after ${fewest} pairs, after ${fewest + 1} and so on,`} contain its
        true difference all at once with a probability of at least 95 %. So look as often as you like, and stop when an
        answer is clear. This does not cover the choice of the step, or of the seeds that go on, by their losses: decide
        beforehand which step counts, such as the last. A difference is stated as a fact if it also holds for all arms
        together (Holm’s correction). These are the intervals and the rule that a report has while its study runs: Wang
        and Ramdas (<a href="https://arxiv.org/abs/2310.03722">arXiv 2310.03722</a>), after Lai (1976). The report of a
        complete study has narrower intervals, for its planned number of seeds.
      </p>
    </details>
  )
}

function Note({ bad = false, children }: { readonly bad?: boolean; readonly children: ComponentChildren }) {
  return <p class={bad ? 'note bad' : 'note quiet'}>{children}</p>
}
