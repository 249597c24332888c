"""What every panel has in common, so that a board is left with words and queries.

A function makes one kind of panel. Grafana knows far more options than are set here; the ones
left out keep Grafana's default.
"""

SOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Colours by what they mean. Red and green never stand alone: a number is always beside them.
GOOD, NEAR, BAD, PLAIN, PAST = "green", "orange", "red", "blue", "#8e8e8e"

# A unit of Grafana cannot follow a label. So series of money carry their currency in their name,
# and each currency has an override. One that is not listed is shown as a plain number, beside
# its code.
CURRENCIES = {
    "AUD": ("A$", 2), "BRL": ("R$", 2), "CAD": ("C$", 2), "CHF": ("CHF ", 2), "CLP": ("CLP$", 0),
    "CNY": ("CN¥", 2), "COP": ("COL$", 0), "CZK": ("Kč ", 2), "DKK": ("DKK ", 2), "EUR": ("€", 2),
    "GBP": ("£", 2), "HKD": ("HK$", 2), "HUF": ("Ft ", 0), "IDR": ("Rp ", 0), "ILS": ("₪", 2),
    "INR": ("₹", 2), "JPY": ("¥", 0), "KRW": ("₩", 0), "MXN": ("MX$", 2), "MYR": ("RM ", 2),
    "NOK": ("NOK ", 2), "NZD": ("NZ$", 2), "PHP": ("₱", 2), "PLN": ("zł ", 2), "SAR": ("SAR ", 2),
    "SEK": ("SEK ", 2), "SGD": ("S$", 2), "THB": ("฿", 2), "TRY": ("₺", 2), "TWD": ("NT$", 0),
    "USD": ("$", 2), "VND": ("₫", 0), "ZAR": ("R ", 2), "AED": ("AED ", 2),
}


def money(small=False, whole=False):
    """The overrides that show each series in the currency of its name; small amounts finer, large
    ones without cents."""
    return [
        override("byRegexp", f"/\\b{code}\\b/", unit=f"currency:financial:{sign}",
                 decimals=0 if whole else digits + 2 if small else digits)
        for code, (sign, digits) in sorted(CURRENCIES.items())
    ]


def override(matcher, what, **properties):
    """Properties for some fields; a `__` in a name stands for a dot: custom__width."""
    listed = [{"id": k.replace("__", "."), "value": v} for k, v in properties.items()]
    return {"matcher": {"id": matcher, "options": what}, "properties": listed}


def colour(name):
    return {"mode": "fixed", "fixedColor": name}


def steps(first, *later):
    """Thresholds: the first colour, then (from which value on, colour)."""
    return {
        "mode": "absolute",
        "steps": [{"color": first, "value": None}]
        + [{"color": name, "value": value} for value, name in later],
    }


# A number over its limit: from 1 on it is passed. For limits from above and from below. What is
# not known has the first colour.
AT_MOST = steps("transparent", (0, GOOD), (0.9, NEAR), (1, BAD))
AT_LEAST = steps("transparent", (0, BAD), (1, NEAR), (1.2, GOOD))


def now(expr, legend=""):
    """A query for the newest value."""
    return {"expr": clean(expr), "legendFormat": legend, "instant": True, "range": False}


def over_time(expr, legend=""):
    """A query for the whole time that the board shows."""
    return {"expr": clean(expr), "legendFormat": legend, "instant": False, "range": True}


def column(expr):
    """A query for a table: its labels become columns, its value one more."""
    return {**now(expr), "format": "table"}


def clean(expr):
    """Queries are written over lines, indented as the board's source is."""
    lines = expr.strip("\n").split("\n")
    depth = min((len(l) - len(l.lstrip()) for l in lines if l.strip()), default=0)
    return "\n".join(l[depth:] if l.strip() else "" for l in lines).strip()


def panel(kind, title, description, size, queries, unit, *, decimals=None, thresholds=None,
          none="no data", overrides=(), custom=None, options=None, fixed=None, more=None, **extra):
    defaults = {
        "unit": unit,
        "noValue": none,
        "color": colour(fixed) if fixed else {"mode": "thresholds"},
        "thresholds": thresholds or steps(fixed or PLAIN),
        "mappings": [],
        **({"decimals": decimals} if decimals is not None else {}),
        **({"custom": custom} if custom else {}),
        **(more or {}),
    }
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return {
        "type": kind,
        "title": title,
        "description": clean(description).replace("\n", " "),
        "size": size,
        "datasource": SOURCE,
        "targets": [{"refId": r, "datasource": SOURCE, **q} for r, q in zip(letters, queries)],
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options or {},
        **extra,
    }


def stat(title, description, size, queries, unit, *, names="auto", background=False, letters=None,
         **more):
    return panel("stat", title, description, size, queries, unit, options={
        "colorMode": "background" if background else "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "percentChangeColorMode": "standard",
        "showPercentChange": False,
        "textMode": names,
        "wideLayout": True,
        **({"text": {"titleSize": letters[0], "valueSize": letters[1]}} if letters else {}),
    }, **more)


def bars(title, description, size, queries, unit, **more):
    return panel("bargauge", title, description, size, queries, unit, options={
        "displayMode": "basic",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "minVizHeight": 16,
        "maxVizHeight": 40,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "sizing": "manual",
        "text": {"titleSize": 13, "valueSize": 16},
        "valueMode": "text",
    }, **more)


def lines(title, description, size, queries, unit, *, limit=False, stacked=False, calcs=("lastNotNull",),
          legend="list", soft_max=None, **more):
    more.setdefault("more", {}).setdefault("min", 0)
    made = panel("timeseries", title, description, size, queries, unit, custom={
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 2,
        "fillOpacity": 40 if stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        **({"axisSoftMax": soft_max} if soft_max else {}),
        "thresholdsStyle": {"mode": "dashed" if limit else "off"},
    }, options={
        "legend": {"calcs": list(calcs) if legend == "table" else [], "displayMode": legend,
                   "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }, **more)
    if "fixed" not in more:
        made["fieldConfig"]["defaults"]["color"] = {"mode": "palette-classic"}
    return made


def dashed(series, name=PAST, width=1):
    """Drawn dashed: what was, or what must not be passed."""
    return override("byRegexp", series, color=colour(name), custom__lineWidth=width,
                    custom__lineStyle={"fill": "dash", "dash": [8, 6]})


def table(title, description, size, queries, columns, *, join=None, sort=None, **more):
    """`columns`: (field, heading, properties) from left to right; other fields are not shown.

    With several queries the field `Value #B` is the value of the second; they are joined by the
    field `join`.
    """
    fields = [field for field, _, _ in columns]
    transformations = []
    if join:
        transformations.append(
            {"id": "joinByField", "options": {"byField": join, "mode": "outer"}})
    transformations += [
        {"id": "filterFieldsByName", "options": {"include": {"names": fields}}},
        {"id": "organize", "options": {
            "excludeByName": {},
            "indexByName": {field: i for i, field in enumerate(fields)},
            "renameByName": {field: heading for field, heading, _ in columns},
        }},
    ]
    by, descending = sort or (columns[0][1], False)
    return panel(
        "table", title, description, size, queries, more.pop("unit", "locale"),
        # Without a unit of text, an id is shown as the number that it looks like.
        overrides=[override("byName", heading, **({} if field.startswith("Value") else {"unit": "string"}), **look)
                   for field, heading, look in columns],
        custom={"align": "auto", "cellOptions": {"type": "auto"}, "filterable": False, "inspect": False},
        options={"cellHeight": "sm", "frameIndex": 0, "showHeader": True,
                 "sortBy": [{"displayName": by, "desc": descending}]},
        fixed="text", transformations=transformations, **more)


# For fields that a link needs and nobody wants to read; Grafana before 12 knows the second.
HIDDEN = {"custom__hideFrom": {"viz": True, "legend": False, "tooltip": False}, "custom__hidden": True}


def of_limit(thresholds, width=110):
    """How a column shows a number divided by its own limit."""
    return {
        "unit": "percentunit", "decimals": 0, "thresholds": thresholds,
        "color": {"mode": "thresholds"},
        "custom__cellOptions": {"type": "color-background", "mode": "basic"},
        "custom__width": width,
    }


def words(title, description, size, markdown):
    return {
        "type": "text", "title": title, "description": description, "size": size,
        "datasource": SOURCE, "targets": [],
        "fieldConfig": {"defaults": {"unit": "none"}, "overrides": []},
        "options": {"mode": "markdown", "content": clean(markdown)},
    }


def row(title, **extra):
    return {"type": "row", "title": title, "size": (24, 1), "collapsed": False, "panels": [], **extra}


def variable(name, label, query, *, text="", regex="", many=True, everything=None, first=None, sort=1):
    """A variable whose values Prometheus knows. `everything` is what All stands for in a query;
    without it, All is the list of all values."""
    made = {
        "name": name, "label": label, "description": text, "type": "query", "datasource": SOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "definition": query, "regex": regex, "refresh": 2, "sort": sort, "hide": 0,
        "multi": many, "includeAll": many, "skipUrlSync": False, "options": [],
    }
    if many:
        made["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
        if everything:
            made["allValue"] = everything
    elif first:
        made["current"] = {"selected": True, "text": first, "value": first}
    return made


def data_source():
    return {"name": "datasource", "label": "Data source", "description": "The Prometheus to ask",
            "type": "datasource", "query": "prometheus", "regex": "", "refresh": 1, "hide": 0,
            "multi": False, "includeAll": False, "options": []}


def typed(name, label, value, text):
    """A variable that is typed in."""
    return {"name": name, "label": label, "description": text, "type": "textbox", "query": value,
            "hide": 0, "skipUrlSync": False, "options": [],
            "current": {"selected": True, "text": value, "value": value}}


def annotation(name, expr, title, text, name_colour, on=True):
    return {"name": name, "datasource": SOURCE, "enable": on, "hide": False, "iconColor": name_colour,
            "expr": clean(expr), "step": "60s", "titleFormat": title, "textFormat": text,
            "useValueForTime": False, "type": "dashboard"}


def board(uid, title, description, variables, panels, *, annotations=(), since="now-24h", refresh="15m"):
    """A whole dashboard. Panels flow from left to right, a new line begins where one is full."""
    placed, x, y, tallest = [], 0, 0, 0
    for number, made in enumerate(panels, start=1):
        width, height = made.pop("size")
        if x + width > 24:
            x, y, tallest = 0, y + tallest, 0
        made["id"] = number
        made["gridPos"] = {"x": x, "y": y, "w": width, "h": height}
        x, tallest = x + width, max(tallest, height)
        placed.append(made)
    grafana = {"name": "Annotations & Alerts", "type": "dashboard", "builtIn": 1, "enable": True,
               "hide": True, "iconColor": "rgba(0, 211, 255, 1)",
               "datasource": {"type": "grafana", "uid": "-- Grafana --"}}
    return {
        "id": None, "uid": uid, "title": f"Marketing messages / {title}",
        "description": clean(description).replace("\n", " "),
        "tags": ["marketing-messages"], "schemaVersion": 42, "version": 1,
        "editable": False, "graphTooltip": 1, "timezone": "browser", "refresh": refresh,
        "time": {"from": since, "to": "now"}, "timepicker": {}, "fiscalYearStartMonth": 0,
        "links": [{"title": "Marketing messages", "type": "dashboards", "tags": ["marketing-messages"],
                   "asDropdown": True, "includeVars": True, "keepTime": True, "targetBlank": False,
                   "icon": "external link", "tooltip": "", "url": ""}],
        "annotations": {"list": [grafana, *annotations]},
        "templating": {"list": [data_source(), *variables]},
        "panels": placed,
    }
