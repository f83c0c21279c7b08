// SPDX-License-Identifier: Apache-2.0

/** What stands in one turn: all routes under one load come before the next load. */
export interface Turn<Route, Load> {
  readonly route: Route;
  readonly load: Load;
}

/** The turns of one round, which begins with another route each time, so that none is always the one after another. */
export function turnsOf<Route, Load>(
  loads: readonly Load[],
  routesUnder: (load: Load) => readonly Route[],
  round: number,
): readonly Turn<Route, Load>[] {
  return loads.flatMap((load) => {
    const routes = routesUnder(load);
    const first = routes.length === 0 ? 0 : round % routes.length;
    return [...routes.slice(first), ...routes.slice(0, first)].map((route) => ({ route, load }));
  });
}
