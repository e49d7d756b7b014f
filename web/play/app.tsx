/** The page: lessons and controls at the side, and the panels of the trainings. */
import type { ComponentType } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { missingGpu } from '../../src/faces/library/web.ts'
import { Message } from '../src/controls/message.tsx'
import { ThemeButton } from '../src/shell/theme-button.tsx'
import { Actions, Controls } from './controls.tsx'
import { LessonList } from './lesson-list.tsx'
import { LossPanel } from './loss-panel.tsx'
import { RoutingPanel } from './routing-panel.tsx'
import { Facts } from './run-facts.tsx'
import { lesson, openSides, problem, started, takeText } from './session.ts'
import { TokensPanel } from './tokens-panel.tsx'
import { WritingPanel } from './writing-panel.tsx'

export function App() {
  const [missing, setMissing] = useState<string | null>(null)
  useEffect(() => {
    missingGpu().then(setMissing)
  }, [])
  const main = useRef<HTMLElement>(null)
  const count = started.value
  useEffect(() => {
    // On a narrow screen the trainings are below the lessons and settings, and out of sight when one is started.
    const top = main.current?.getBoundingClientRect().top ?? 0
    if (count > 0 && top > innerHeight / 2) main.current?.scrollIntoView()
  }, [count])
  return (
    <>
      <a class="skip" href="#main">
        Skip to the trainings
      </a>
      <header class="top">
        <span class="brand">Choir play</span>
        <Actions disabled={missing !== null} />
        <a class="guide-link" href="./routing.html" target="_blank" rel="noreferrer">
          How routing works
        </a>
        <ThemeButton />
      </header>
      {problem.value !== null && (
        <div class="banner" role="alert">
          {problem.value}
        </div>
      )}
      <div class="body">
        <aside
          class="play-side"
          aria-label="Settings"
          onDragOver={(event) => event.preventDefault()}
          onDrop={(event) => {
            event.preventDefault()
            const file = event.dataTransfer?.files[0]
            if (file) void takeText(file)
          }}
        >
          <LessonList disabled={missing !== null} />
          <Controls />
        </aside>
        <main ref={main} id="main" class="play-main" tabIndex={-1}>
          <h1 class="hidden">Trainings</h1>
          {missing !== null && (
            <Message bad title="This browser cannot train">
              There is {missing}. In Node, <code>choir train</code> also trains without a GPU.
            </Message>
          )}
          {missing === null && openSides.value.length === 0 && <Welcome />}
          {openSides.value.length === 0 && <Recorded />}
          {openSides.value.length > 0 && <Trainings />}
        </main>
      </div>
    </>
  )
}

function Welcome() {
  return (
    <p class="look">
      <b>Nothing is trained yet.</b> Try a lesson, or press Train: two small language models then learn the State of the
      Union addresses, or a text of yours, in this browser, side by side and from the same seed. The text stays in this
      browser. Until then, here is a training that was recorded.
    </p>
  )
}

/** The replay is in a file of its own: the page is there before it. */
function Recorded() {
  const [Screen, setScreen] = useState<ComponentType | null>(null)
  useEffect(() => {
    import('./first-screen.tsx').then(({ FirstScreen }) => setScreen(() => FirstScreen))
  }, [])
  return Screen && <Screen />
}

function Trainings() {
  return (
    <>
      {lesson.value && (
        <p class="look" role="note">
          <b>{lesson.value.title}.</b> {lesson.value.look}
        </p>
      )}
      <Facts />
      <LossPanel />
      <RoutingPanel />
      <TokensPanel />
      <WritingPanel />
    </>
  )
}
