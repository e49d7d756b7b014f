/** What the server and the process of a model say to each other. */
import type { DocumentList, TokenTrace, TopTokens } from '../api.ts'
import type { ProblemStatus } from '../http/problem.ts'

/** A text, or the number of a document. */
export type Traced = { readonly text: string } | { readonly document: number }

export interface ExpertPlace {
  readonly router: number
  readonly expert: number
}

/** The process does not know how the server calls the run. */
export type UnnamedTrace = Omit<TokenTrace, 'run'>

export interface DocumentsQuestion {
  readonly kind: 'documents'
}
export interface TraceQuestion {
  readonly kind: 'trace'
  readonly what: Traced
}
export interface TopTokensQuestion {
  readonly kind: 'top-tokens'
  readonly place: ExpertPlace
}
export type Question = DocumentsQuestion | TraceQuestion | TopTokensQuestion

export type AnswerTo<Q extends Question> = Q extends DocumentsQuestion
  ? DocumentList
  : Q extends TraceQuestion
    ? UnnamedTrace
    : TopTokens

/** One question at a time, each answered. */
export type ToProcess = Question
export type FromProcess =
  | { readonly kind: 'answer'; readonly answer: DocumentList | UnnamedTrace | TopTokens }
  | { readonly kind: 'problem'; readonly status: ProblemStatus; readonly message: string }
