/**
 * An answer of the server in a component: asked for when its key changes, and again, keeping what is shown, when
 * its version does.
 */
import { useEffect, useRef, useState } from 'preact/hooks'

export interface Answer<T> {
  /** Null until there is one for this key. */
  readonly value: T | null
  /** Why there is none, or no newer one. */
  readonly problem: string | null
  readonly loading: boolean
}

/** However often a run is written to, it is not asked for more often than this. */
const RETRY_MS = 1000

type Version = number | string | null

/** @param key null: nothing to ask */
export function useAnswer<T>(
  key: string | null,
  version: Version,
  ask: (signal: AbortSignal) => Promise<T>,
): Answer<T> {
  const [state, setState] = useState<Answer<T> & { readonly key: string | null }>({
    key: null,
    value: null,
    problem: null,
    loading: false,
  })
  const latest = useRef({ ask, version })
  latest.current = { ask, version }
  const refresh = useRef((): void => {})

  useEffect(() => {
    if (key === null) return
    const abort = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    let answered: Version | undefined
    let busy = false
    let began = 0
    const load = () => {
      const { ask, version } = latest.current
      timer = undefined
      busy = true
      began = performance.now()
      setState((old) => ({ ...(old.key === key ? old : { value: null }), key, problem: null, loading: true }))
      ask(abort.signal)
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
    // A run that is written to faster than it answers is asked again when it has answered, never cut short.
    refresh.current = () => {
      if (busy || timer !== undefined || abort.signal.aborted || latest.current.version === answered) return
      timer = setTimeout(load, Math.max(0, began + RETRY_MS - performance.now()))
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
