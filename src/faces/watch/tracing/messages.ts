/** Messages between the server and a model process. */

import type { ProblemStatus } from '../../http/problem.ts'
import type { DocumentList, TokenTrace, TopTokens } from '../api.ts'

/** Input of a trace: a text, or the index of a document. */
export type TraceInput = { readonly text: string } | { readonly document: number }

export interface ExpertRef {
  readonly router: number
  readonly expert: number
}

/** A trace without the run's id, which the process does not know. */
export type UnnamedTrace = Omit<TokenTrace, 'run'>

export interface DocumentsQuestion {
  readonly kind: 'documents'
}
export interface TraceQuestion {
  readonly kind: 'trace'
  readonly what: TraceInput
}
export interface TopTokensQuestion {
  readonly kind: 'top-tokens'
  readonly place: ExpertRef
}
export type Question = DocumentsQuestion | TraceQuestion | TopTokensQuestion

export type AnswerTo<Q extends Question> = Q extends DocumentsQuestion
  ? DocumentList
  : Q extends TraceQuestion
    ? UnnamedTrace
    : TopTokens

/** The process gets one question at a time and answers each. */
export type ToProcess = Question
export type FromProcess =
  | { readonly kind: 'answer'; readonly answer: DocumentList | UnnamedTrace | TopTokens }
  | { readonly kind: 'problem'; readonly status: ProblemStatus; readonly message: string }
