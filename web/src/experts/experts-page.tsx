/** The experts page: selects the run, and explains why nothing is shown if it has no routing. */
import { useEffect } from 'preact/hooks'
import type { RoutingIndex } from '../../../src/faces/watch/api.ts'
import { Message } from '../controls/message.tsx'
import { getJson } from '../shared/client.ts'
import { runOf, shownRuns, versions, whyNoRun } from '../shared/store.ts'
import { useAnswer } from '../shared/use-answer.ts'
import './experts.css'
import { Routing } from './routing.tsx'
import { chosenRun, playing } from './view.ts'

export function ExpertsPage() {
  const requested = chosenRun.value === null ? undefined : runOf(chosenRun.value)
  const routed = shownRuns.value.filter((run) => run.routed)
  const run = requested?.routed ? requested : routed[0]
  // The version of this run alone, so that changes of other runs do not redraw the page.
  const version = run ? (versions.value.get(run.id) ?? 0) : 0
  const { value: index, problem } = useAnswer(run?.id ?? null, version, (signal) =>
    getJson<RoutingIndex>('/api/routing', { run: run?.id }, signal),
  )
  useEffect(
    () => () => {
      playing.value = false
    },
    [],
  )

  if (!run)
    return (
      <Message title="No routing to show">
        {shownRuns.value.length === 0
          ? whyNoRun()
          : 'The shown runs are dense, or have not recorded a step yet. A run with experts writes routing.jsonl every train.routingEvery steps.'}
      </Message>
    )
  if (index === null || index.run !== run.id)
    return problem === null ? (
      <Message title={`Reading the routing of ${run.name}…`} />
    ) : (
      <Message bad title={`The routing of ${run.name} could not be read`}>
        {problem}
      </Message>
    )
  if (index.steps.length === 0 || index.routers.length === 0)
    return (
      <Message title={`${run.name} has not recorded a step yet`}>
        This page fills as soon as routing.jsonl has its first lines.
      </Message>
    )
  return <Routing key={run.id} run={run} runs={routed.includes(run) ? routed : [run, ...routed]} index={index} />
}
