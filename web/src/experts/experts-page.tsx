/** Where tokens go: which run is looked at, and what to say where nothing is routed. */
import { useEffect } from 'preact/hooks'
import type { RoutingIndex } from '../../../src/watch/api.ts'
import { getJson } from '../client.ts'
import { Message } from '../controls/message.tsx'
import { runOf, shownRuns, versions } from '../store.ts'
import { useAnswer } from '../use-answer.ts'
import './experts.css'
import { Routing } from './routing.tsx'
import { chosenRun, playing } from './view.ts'

export function ExpertsPage() {
  const wanted = chosenRun.value === null ? undefined : runOf(chosenRun.value)
  const routed = shownRuns.value.filter((run) => run.routed)
  const run = wanted?.routed ? wanted : routed[0]
  // Only the version of this run: others that change draw nothing here anew.
  const version = run ? (versions.value.get(run.id) ?? 0) : 0
  const { value: index, problem: failed } = useAnswer(run?.id ?? null, version, (signal) =>
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
      <Message title="Nothing is routed here">
        {shownRuns.value.length === 0
          ? 'No run is shown.'
          : 'The runs that are shown are dense, or have not recorded a step yet. A run with experts writes routing.jsonl every train.routingEvery steps.'}
      </Message>
    )
  if (index === null || index.run !== run.id)
    return failed === null ? (
      <Message title={`Reading the routing of ${run.name}…`} />
    ) : (
      <Message bad title={`The routing of ${run.name} could not be read`}>
        {failed}
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
