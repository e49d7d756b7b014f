/**
 * A response of the server in a component. A new key clears the value and requests another; a new version requests
 * another value and keeps the old one until it arrives.
 */
import { useEffect, useRef, useState } from 'preact/hooks'

export interface Answer<T> {
  /** The newest response for this key; null until the first. */
  readonly value: T | null
  /** The reason why there is no value, or no newer value. */
  readonly problem: string | null
  readonly loading: boolean
}

/** Shortest time between requests, however often a run changes. */
const MIN_INTERVAL_MS = 1000

type Version = number | string | null

/** Requests a value. @param key Identifies the value; null makes no request. */
export function useAnswer<T>(
  key: string | null,
  version: Version,
  request: (signal: AbortSignal) => Promise<T>,
): Answer<T> {
  const [state, setState] = useState<Answer<T> & { readonly key: string | null }>({
    key: null,
    value: null,
    problem: null,
    loading: false,
  })
  const latest = useRef({ request, version })
  latest.current = { request, version }
  const refresh = useRef((): void => {})

  useEffect(() => {
    if (key === null) return
    const abort = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    let answered: Version | undefined
    let busy = false
    let began = 0
    const load = () => {
      const { request, version } = latest.current
      timer = undefined
      busy = true
      began = performance.now()
      setState((old) => ({ ...(old.key === key ? old : { value: null }), key, problem: null, loading: true }))
      request(abort.signal)
        .then(
          (value) => setState({ key, value, problem: null, loading: false }),
          (error: Error) => {
            if (!abort.signal.aborted) setState((old) => ({ ...old, problem: error.message, loading: false }))
          },
        )
        .finally(() => {
          busy = false
          answered = version
          refresh.current()
        })
    }
    // A newer version never aborts a request: a run that changes faster than the server answers would show nothing.
    refresh.current = () => {
      if (busy || timer !== undefined || abort.signal.aborted || latest.current.version === answered) return
      timer = setTimeout(load, Math.max(0, began + MIN_INTERVAL_MS - performance.now()))
    }
    load()
    return () => {
      clearTimeout(timer)
      abort.abort()
    }
  }, [key])
  useEffect(() => refresh.current(), [version])

  if (key === null) return { value: null, problem: null, loading: false }
  return state.key === key ? state : { value: null, problem: null, loading: true }
}
