"""Makes a bucket unless it is there: `python bucket.py ENDPOINT BUCKET`."""

import sys

import boto3
from botocore.exceptions import ClientError


def main(endpoint: str, bucket: str) -> None:
    """Make the bucket; credentials and region come from the environment."""
    client = boto3.client("s3", endpoint_url=endpoint)
    try:
        client.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in (
            "BucketAlreadyOwnedByYou",
            "BucketAlreadyExists",
        ):
            raise
    client.head_bucket(Bucket=bucket)


if __name__ == "__main__":
    main(*sys.argv[1:])
