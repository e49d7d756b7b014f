/** The whole page: the header, the runs at the side, and one of the views. */
import { useEffect } from 'preact/hooks'
import { CurvesPage } from './curves/curves-page.tsx'
import { ExpertsPage } from './experts/experts-page.tsx'
import { Header } from './header.tsx'
import { RanksPage } from './ranks/ranks-page.tsx'
import { collection, page, pages, pageTitles, problem, runs } from './shared/store.ts'
import { ignored } from './shared/view-state.ts'
import { onKeys, Shortcuts, shortcutsShown } from './shell/shortcuts.tsx'
import { Sidebar } from './sidebar.tsx'
import { TokensPage } from './tokens/tokens-page.tsx'

const views = { curves: CurvesPage, experts: ExpertsPage, tokens: TokensPage, ranks: RanksPage }

export function App() {
  useEffect(() => {
    const toPages = pages.map((name, index) => [String(index + 1), () => (page.value = name)] as const)
    return onKeys({ ...Object.fromEntries(toPages), '?': () => (shortcutsShown.value = true) })
  }, [])
  const View = views[page.value]
  return (
    <>
      <a class="skip" href="#main">
        Skip to the page
      </a>
      <Header />
      {problem.value !== null && (
        <div class="banner" role="alert">
          {problem.value}
        </div>
      )}
      {ignored.value.length > 0 && <Ignored parameters={ignored.value} />}
      <div class="body">
        <Sidebar />
        <main id="main" tabIndex={-1}>
          <h1 class="hidden">{pageTitles[page.value]}</h1>
          {runs.value.length > 0 ? <View /> : <NoRuns />}
        </main>
      </div>
      <Shortcuts />
    </>
  )
}

/** Number of parameters that are named. */
const MAX_NAMED = 5

/** Names the parts of a link that have no effect, so that nobody takes the page for what the link asked for. */
function Ignored({ parameters }: { readonly parameters: readonly string[] }) {
  const more = parameters.length > MAX_NAMED ? `, and ${parameters.length - MAX_NAMED} more` : ''
  return (
    <div class="banner" role="status">
      The link has parameters without a meaning here, which are ignored: {parameters.slice(0, MAX_NAMED).join(', ')}
      {more}.{' '}
      <button type="button" onClick={() => (ignored.value = [])}>
        Close
      </button>
    </div>
  )
}

function NoRuns() {
  if (collection.value === null)
    return <p class="empty">{problem.value === null ? 'Looking for runs…' : 'Nothing can be shown yet.'}</p>
  return (
    <section class="empty">
      <h2>No runs yet</h2>
      <p>
        None found in <code>{collection.value.roots.join(', ')}</code>. A run appears here as soon as its folder is
        written. To start one:
      </p>
      <pre>choir train demo --out runs/demo</pre>
    </section>
  )
}
