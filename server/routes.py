"""Every address of the API in one table: parameters, answers, headers, errors.

`openapi` makes the API's description of it. A further parameter, error or header of an
address is one more entry in its row. The statistics are not named here: their addresses
are the rows of the catalogue, and share `job_routes.SUBMIT`.
"""

from server.job_routes import JOB_ROUTES
from server.server_routes import SERVER_ROUTES

ROUTES = (*JOB_ROUTES, *SERVER_ROUTES)
