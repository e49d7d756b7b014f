/** Finds the experts of tokens: computed from a run's checkpoint, or read from a Megatron-Core trace. */

import { ProblemError } from '../../http/problem.ts'
import type { DocumentList, TokenTrace, TopTokens } from '../api.ts'
import type { WatchedRun } from '../runs/collection.ts'
import type { ExpertRef, TraceInput } from './messages.ts'
import type { TraceProcesses } from './processes.ts'

export interface Tracing {
  documents(run: WatchedRun, signal: AbortSignal): Promise<DocumentList>
  trace(run: WatchedRun, what: TraceInput, signal: AbortSignal): Promise<TokenTrace>
  topTokens(run: WatchedRun, place: ExpertRef, signal: AbortSignal): Promise<TopTokens>
}

export class RunTracing implements Tracing {
  private readonly processes: TraceProcesses

  constructor(processes: TraceProcesses) {
    this.processes = processes
  }

  async documents(run: WatchedRun, signal: AbortSignal): Promise<DocumentList> {
    if (run.kind === 'trace') return { documents: stepsOf(run) }
    return this.processes.ask(run.directory, { kind: 'documents' }, signal)
  }

  async trace(run: WatchedRun, what: TraceInput, signal: AbortSignal): Promise<TokenTrace> {
    if (run.kind !== 'trace')
      return { ...(await this.processes.ask(run.directory, { kind: 'trace', what }, signal)), run: run.id }
    if (!('document' in what)) throw noModel(run)
    const steps = stepsOf(run)
    if (!run.recorded || what.document >= steps.length)
      throw new ProblemError(404, `unknown document: ${what.document} (the trace has ${steps.length}, from 0)`)
    return run.recorded(what.document)
  }

  async topTokens(run: WatchedRun, place: ExpertRef, signal: AbortSignal): Promise<TopTokens> {
    if (run.kind === 'trace') throw noModel(run)
    return this.processes.ask(run.directory, { kind: 'top-tokens', place }, signal)
  }
}

const noModel = (run: WatchedRun): ProblemError =>
  new ProblemError(409, `${run.summary().name} is a trace of Megatron-Core: it has no model to route a text with.`)

const stepsOf = (run: WatchedRun): DocumentList['documents'] =>
  (run.routing()?.steps ?? []).map((step, index) => ({ index, title: `step ${step}`, characters: 0 }))
