/** Errors in the shape of OpenAI's API, which clients turn into exceptions of their own. */
import { UsageError } from '../../core/errors.ts'
import { ProblemError, type ProblemStatus } from '../http/problem.ts'

/** The body of a response about an error. */
export interface ErrorBody {
  readonly error: {
    readonly message: string
    readonly type: string
    /** The field of the request at fault. */
    readonly param: string | null
    readonly code: string | null
  }
}

const types: Readonly<Record<ProblemStatus, string>> = {
  400: 'invalid_request_error',
  401: 'invalid_request_error',
  403: 'permission_error',
  404: 'invalid_request_error',
  409: 'invalid_request_error',
  413: 'invalid_request_error',
  415: 'invalid_request_error',
  429: 'rate_limit_error',
  500: 'server_error',
  503: 'server_error',
}

export class ApiError extends ProblemError {
  readonly param: string | null
  readonly code: string | null

  constructor(
    status: ProblemStatus,
    message: string,
    { param = null, code = null }: { readonly param?: string | null; readonly code?: string | null } = {},
  ) {
    super(status, message)
    this.param = param
    this.code = code
  }
}

/** Converts any error. */
export function apiErrorOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof ProblemError) return new ApiError(error.status, error.message)
  if (error instanceof UsageError) return new ApiError(400, error.message)
  return new ApiError(500, error instanceof Error ? error.message : String(error))
}

export const bodyOf = ({ status, message, param, code }: ApiError): ErrorBody => ({
  error: { message, type: types[status], param, code },
})
