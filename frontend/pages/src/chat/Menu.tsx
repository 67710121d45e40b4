/** A button that opens a menu: arrows move in it, Escape and a click elsewhere close it. */

import { useEffect, useId, useLayoutEffect, useRef, useState, type ReactNode } from "react";

import { Icon, type IconName } from "../common/Icon.js";

export interface MenuItem {
  readonly label: string;
  readonly icon: IconName;
  readonly act: () => void;
  readonly isBad?: boolean;
}

interface MenuProps {
  readonly label: string;
  readonly items: readonly MenuItem[];
}

const GAP_PX = 4;

export function Menu({ label, items }: MenuProps): ReactNode {
  const [isOpen, setIsOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  const shut = (): void => {
    setIsOpen(false);
    button.current?.focus();
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        className="button-icon button-small menu-button"
        aria-label={label}
        aria-haspopup="menu"
        aria-expanded={isOpen}
        aria-controls={isOpen ? id : undefined}
        onClick={() => {
          setIsOpen(!isOpen);
        }}
      >
        <Icon name="more" />
      </button>
      {isOpen ? (
        <Items id={id} label={label} items={items} button={button} onShut={shut} />
      ) : null}
    </>
  );
}

interface ItemsProps extends MenuProps {
  readonly id: string;
  readonly button: { readonly current: HTMLButtonElement | null };
  readonly onShut: () => void;
}

function Items({ id, label, items, button, onShut }: ItemsProps): ReactNode {
  const list = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const menu = list.current;
    const at = button.current?.getBoundingClientRect();
    if (menu === null || at === undefined) return;
    const room = innerHeight - at.bottom - GAP_PX;
    const top =
      room < menu.offsetHeight ? at.top - menu.offsetHeight - GAP_PX : at.bottom + GAP_PX;
    menu.style.top = `${Math.max(GAP_PX, top).toString()}px`;
    menu.style.left = `${Math.max(GAP_PX, Math.min(at.left, innerWidth - menu.offsetWidth - GAP_PX)).toString()}px`;
    menu.querySelector("button")?.focus();
  }, [button]);
  useEffect(() => {
    const leave = (event: Event): void => {
      const target = event.target;
      if (
        target instanceof Node &&
        (list.current?.contains(target) === true || button.current?.contains(target) === true)
      )
        return;
      onShut();
    };
    addEventListener("pointerdown", leave);
    addEventListener("resize", onShut);
    return () => {
      removeEventListener("pointerdown", leave);
      removeEventListener("resize", onShut);
    };
  });
  const move = (step: number): void => {
    const all = [...(list.current?.querySelectorAll("button") ?? [])];
    const at = all.findIndex((each) => each === document.activeElement);
    all[(at + step + all.length) % all.length]?.focus();
  };
  return (
    <div
      ref={list}
      id={id}
      className="menu"
      role="menu"
      aria-label={label}
      onKeyDown={(event) => {
        if (event.key === "ArrowDown") move(1);
        else if (event.key === "ArrowUp") move(-1);
        else if (event.key === "Escape" || event.key === "Tab") onShut();
        else return;
        event.preventDefault();
        event.stopPropagation();
      }}
    >
      {items.map((item) => (
        <button
          key={item.label}
          type="button"
          role="menuitem"
          className={item.isBad === true ? "menu-bad" : undefined}
          onClick={() => {
            onShut();
            item.act();
          }}
        >
          <Icon name={item.icon} />
          {item.label}
        </button>
      ))}
    </div>
  );
}
