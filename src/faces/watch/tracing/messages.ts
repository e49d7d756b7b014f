/** Messages between the server and a model process. */

import type { ProblemStatus } from '../../http/problem.ts'
import type { DocumentList, TokenTrace, TopTokens } from '../api.ts'

/** Input of a trace: a text, or the index of a document. */
export type TraceInput = { readonly text: string } | { readonly document: number }

export interface ExpertRef {
  readonly router: number
  readonly expert: number
}

/** A text, and the name of the held-out document that begins with it. */
export interface HeldOutSentence {
  readonly title: string
  readonly text: string
}

/** A trace without the run's id, which the process does not know. */
export type UnnamedTrace = Omit<TokenTrace, 'run'>

export interface DocumentsQuestion {
  readonly kind: 'documents'
}
export interface TraceQuestion {
  readonly kind: 'trace'
  readonly what: TraceInput
  /** Step of the checkpoint; default: the newest one. */
  readonly checkpoint?: number
}
/** Asks for a short text from the beginning of a held-out document. */
export interface SentenceQuestion {
  readonly kind: 'sentence'
}
export interface TopTokensQuestion {
  readonly kind: 'top-tokens'
  readonly place: ExpertRef
}
export type Question = DocumentsQuestion | TraceQuestion | SentenceQuestion | TopTokensQuestion

export type AnswerTo<Q extends Question> = Q extends DocumentsQuestion
  ? DocumentList
  : Q extends TraceQuestion
    ? UnnamedTrace
    : Q extends SentenceQuestion
      ? HeldOutSentence
      : TopTokens

/** The process gets one question at a time and answers each. */
export type ToProcess = Question
export type FromProcess =
  | { readonly kind: 'answer'; readonly answer: DocumentList | UnnamedTrace | HeldOutSentence | TopTokens }
  | { readonly kind: 'problem'; readonly status: ProblemStatus; readonly message: string }
