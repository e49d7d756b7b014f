/** The ranks page: how each rank of a run spends the time of a step, and the load of its experts. */
import './ranks.css'
import { fixed, grouped, percent, significant } from '../../../src/core/text/numbers.ts'
import type { RanksOfSteps, RunSummary } from '../../../src/faces/watch/api.ts'
import { Message } from '../controls/message.tsx'
import { Segments, Select } from '../controls/selection.tsx'
import { chosenRun } from '../experts/view.ts'
import { getJson } from '../shared/client.ts'
import { runOf, shownRuns, versions, whyNoRun } from '../shared/store.ts'
import { useAnswer } from '../shared/use-answer.ts'
import { inAddress, number, oneOf, optional } from '../shared/view-state.ts'
import { partNames, parts, type RankTable, rankTable } from './rank-rows.ts'
import { Legend, RankTimes } from './rank-table.tsx'

const spans = ['mean', 'step'] as const
/** Whether times are means over the last steps, or the times of one step. */
const span = inAddress('span', oneOf(spans), 'mean')
/** The last step shown; null to follow the newest. */
const lastStep = inAddress('until', optional(number), null)

/** Number of steps of a mean, the same as in a warning about a slow rank. */
const MEAN_STEPS = 20

export function RanksPage() {
  const requested = chosenRun.value === null ? undefined : runOf(chosenRun.value)
  const ranked = shownRuns.value.filter((run) => run.ranked)
  const run = requested?.ranked ? requested : ranked[0]
  const steps = span.value === 'step' ? 1 : MEAN_STEPS
  const step = lastStep.value
  const version = run ? `${versions.value.get(run.id) ?? 0} ${steps} ${step}` : ''
  const { value: ranks, problem } = useAnswer(run?.id ?? null, version, (signal) =>
    getJson<RanksOfSteps>('/api/ranks', { run: run?.id, span: steps, step: step ?? undefined }, signal),
  )
  if (!run)
    return (
      <Message title="No ranks to show">
        {shownRuns.value.length === 0
          ? whyNoRun()
          : 'The shown runs are of a single process. A training over ranks, such as choir launch train demo --ranks 2, records the time of each.'}
      </Message>
    )
  if (ranks === null || ranks.run !== run.id)
    return problem === null ? (
      <Message title={`Reading the ranks of ${run.name}…`} />
    ) : (
      <Message bad title={`The ranks of ${run.name} could not be read`}>
        {problem}
      </Message>
    )
  return <Ranks run={run} runs={ranked.includes(run) ? ranked : [run, ...ranked]} ranks={ranks} problem={problem} />
}

interface RanksProps {
  readonly run: RunSummary
  readonly runs: readonly RunSummary[]
  readonly ranks: RanksOfSteps
  readonly problem: string | null
}

function Ranks({ run, runs, ranks, problem }: RanksProps) {
  const table = rankTable(ranks)
  return (
    <div class="ranks">
      <div class="ranks-controls">
        <Select
          label="Run"
          value={run.id}
          options={runs.map(({ id, name }) => ({ value: id, text: name }))}
          pick={(id) => {
            chosenRun.value = id
            lastStep.value = null
          }}
        />
        <Segments
          label="Times"
          value={span.value}
          pick={(value) => (span.value = value)}
          options={[
            {
              value: 'mean',
              text: `Mean of ${MEAN_STEPS} steps`,
              hint: 'Without a tenth of them, the longest',
            },
            { value: 'step', text: 'One step' },
          ]}
        />
        <StepSlider ranks={ranks} running={run.state === 'running'} />
      </div>
      {problem !== null && (
        <p class="bad" role="alert">
          {problem}
        </p>
      )}
      <section class="pane" aria-label="Ranks">
        <Summary table={table} ranks={ranks} />
        <Legend />
        <RankTimes table={table} />
        <p class="quiet">
          Times in milliseconds. A rank waits until the last one has come to an exchange; all-to-all and all-reduce are
          what an exchange takes from then on.
        </p>
      </section>
    </div>
  )
}

function Summary({ table, ranks }: { readonly table: RankTable; readonly ranks: RanksOfSteps }) {
  const { slowest, shares, step, maxLoad } = table
  const when = ranks.used > 1 ? `steps ${grouped(ranks.from)} to ${grouped(ranks.to)}` : `step ${grouped(ranks.to)}`
  const used = parts.filter((part) => part !== 'allToAll' || maxLoad !== null)
  return (
    <div class="ranks-summary">
      <h2>
        {grouped(table.rows.length)} ranks, {when}
      </h2>
      <p>
        A step takes <b>{significant(step)} ms</b>
        {': '}
        {used.map((part) => `${partNames[part].toLowerCase()} ${percent(shares[part], 0)}`).join(', ')}
        {maxLoad !== null && `. The most loaded rank has ${fixed(maxLoad, 2)} times the mean`}.
      </p>
      {slowest && (
        <p class="ranks-slow">
          Rank {slowest.rank}
          {slowest.process && ` (${slowest.process})`} computes {fixed(slowest.computeOverOthers, 2)} times as long as
          the median of the other ranks; they wait {percent(slowest.waitedFor / step, 0)} of a step for it.
        </p>
      )}
    </div>
  )
}

function StepSlider({ ranks, running }: { readonly ranks: RanksOfSteps; readonly running: boolean }) {
  const { steps, to, of } = ranks
  const at = Math.max(0, steps.indexOf(to))
  const isNewest = lastStep.value === null
  return (
    <div class="ranks-slider">
      <input
        type="range"
        min={0}
        max={Math.max(0, steps.length - 1)}
        value={at}
        aria-label="Last step"
        aria-valuetext={`step ${to}`}
        onInput={(event) => (lastStep.value = steps[Number(event.currentTarget.value)] ?? null)}
      />
      <output title={steps.length < of ? `${grouped(steps.length)} of the ${grouped(of)} records are kept` : undefined}>
        step <b>{grouped(to)}</b>
      </output>
      <button type="button" aria-pressed={isNewest} onClick={() => (lastStep.value = null)}>
        {running ? 'Live' : 'Newest'}
      </button>
    </div>
  )
}
