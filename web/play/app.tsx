/** The page: lessons and controls at the side, and the panels of the trainings. */
import type { ComponentType } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { missingGpu } from '../../src/faces/library/web.ts'
import { Message } from '../src/controls/message.tsx'
import { Dialog } from '../src/shell/dialog.tsx'
import { ThemeButton } from '../src/shell/theme-button.tsx'
import { Actions, Controls } from './controls.tsx'
import { LessonList } from './lesson-list.tsx'
import { LossPanel } from './loss-panel.tsx'
import { RoutingPanel } from './routing-panel.tsx'
import { Facts } from './run-facts.tsx'
import { lesson, missing, openSides, problem, question, started, takeText } from './session.ts'
import { TokensPanel } from './tokens-panel.tsx'
import { WritingPanel } from './writing-panel.tsx'

export function App() {
  useEffect(() => {
    missingGpu().then((reason) => (missing.value = reason))
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
        <Actions />
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
      {question.value && <Ask question={question.value} />}
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
          {missing.value === null && openSides.value.length === 0 && <Welcome where="side" />}
          <LessonList />
          <Controls />
        </aside>
        <main ref={main} id="main" class="play-main" tabIndex={-1}>
          <h1 class="hidden">Trainings</h1>
          {missing.value !== null && (
            <Message bad title="This browser cannot train">
              There is {missing}. In Node, <code>choir train</code> also trains without a GPU.
            </Message>
          )}
          {missing.value === null && openSides.value.length === 0 && <Welcome where="main" />}
          {openSides.value.length === 0 && <Recorded />}
          {openSides.value.length > 0 && <Trainings />}
        </main>
      </div>
    </>
  )
}

function Welcome({ where }: { readonly where: 'side' | 'main' }) {
  return (
    <p class={`look welcome-${where}`}>
      <b>Train two small language models in this browser</b>, side by side and from the same seed, on the State of the
      Union addresses or on a text of yours, and see which experts they use. Try a lesson, or press Train. The text
      stays in this browser. {where === 'main' ? 'Until then, here is' : 'Below is'} a training that was recorded.
    </p>
  )
}

function Ask({ question: { title, text, yes, act } }: { readonly question: NonNullable<typeof question.value> }) {
  const close = () => (question.value = null)
  return (
    <Dialog title={title} close={close}>
      <p>{text}</p>
      <p class="answers">
        <button
          type="button"
          class="primary"
          onClick={() => {
            close()
            act()
          }}
        >
          {yes}
        </button>
        <button type="button" onClick={close}>
          Keep training
        </button>
      </p>
    </Dialog>
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
